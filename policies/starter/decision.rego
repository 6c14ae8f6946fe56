# METADATA
# title: Starter policy
# description: |
#   A call is allowed when the catalogue knows its operation, the scopes of the token cover it, one whole item of
#   authorization_details covers it, and the table in data.json lets the job do it. Everything else is refused, with a
#   reason for each condition that does not hold.
package sallyport

import data.lib.jobs
import data.lib.rights

# METADATA
# title: The decision
# description: Asked by the gateway for each request, with the document of policies/schema/input.schema.json.
# entrypoint: true
# scope: document
default decision := {
	"allow": false,
	"reasons": [{"code": "no_decision", "message": "The policy reached no decision."}],
}

decision := {"allow": true} if {
	operation_known
	operation_protected
	scopes_cover
	details_cover
	job_allowed
	count(denials) == 0
}

decision := {"allow": false, "reasons": [denial | some denial in denials], "requires": requires} if count(denials) > 0

# Each condition is a rule that holds or does not, and each denial negates one: a missing or null field makes the
# condition fail and so produces the denial. The heads hold constants only, so that nothing can keep a denial from being
# made.

denials contains {
	"code": "operation_unknown",
	"message": "The request is not exactly one operation of the catalogue.",
} if {
	not operation_known
}

denials contains {
	"code": "operation_unprotected",
	"message": "The catalogue asks for neither scopes nor authorization_details for this operation.",
} if {
	operation_known
	not operation_protected
}

denials contains {
	"code": "insufficient_scope",
	"message": "The scope of the token does not cover this operation.",
} if {
	operation_known
	not scopes_cover
}

denials contains {
	"code": "not_covered_by_authorization_details",
	"message": "No single item of authorization_details covers this operation on this resource.",
} if {
	operation_known
	not details_cover
}

denials contains {
	"code": "job_not_allowed",
	"message": "The table of jobs does not let this job do this operation.",
} if {
	operation_known
	not job_allowed
}

operation_known if {
	is_string(input.operation.service)
	is_string(input.operation.name)
	is_string(input.operation.resource)
}

operation_protected if rights.asked_for

scopes_cover if rights.scopes_cover

details_cover if rights.details_cover

job_allowed if jobs.may(input.job, input.operation, data.starter)

job_allowed if {
	is_null(input.job)
	data.starter.tokens_without_job == "allow"
}

# What a token needs, at least, for the call to pass the checks of scope and authorization_details.

requires["scopes"] := input.operation.scopes if rights_missing

requires["authorization_details"] := [{
	"type": input.operation.authorization_details_type,
	"actions": [input.operation.name],
	"identifier": input.operation.resource,
}] if {
	rights_missing
	is_string(input.operation.authorization_details_type)
}

rights_missing if {
	operation_known
	not scopes_cover
}

rights_missing if {
	operation_known
	not details_cover
}
