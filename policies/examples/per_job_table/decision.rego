# METADATA
# title: Per-job least privilege, by a table
# description: |
#   A job may do what the table in data.json names for it: provider, repository with its id, then rules on workflow,
#   environment, protected ref and operations. A token without a job may do nothing. The rights that the catalogue asks
#   for, scopes and authorization_details, must cover the call too.
package examples.per_job_table

import data.lib.jobs
import data.lib.rights

# METADATA
# title: The decision
# description: Not marked as an entrypoint, so that a gateway that is asked for another rule does not carry it.
# scope: document
decision := {"allow": true} if count(denials) == 0

decision := {"allow": false, "reasons": [denial | some denial in denials]} if count(denials) > 0

denials contains {
	"code": "insufficient_scope",
	"message": "The scope of the token does not cover this operation.",
} if {
	not scopes_cover
}

denials contains {
	"code": "not_covered_by_authorization_details",
	"message": "No single item of authorization_details covers this operation on this resource.",
} if {
	job_allowed
	not rights.details_cover
}

denials contains {
	"code": "job_not_allowed",
	"message": "The table of jobs does not let this job do this operation.",
} if {
	not job_allowed
}

# An operation that asks for no scope is not protected by one.
scopes_cover if {
	count(input.operation.scopes) > 0
	rights.scopes_cover
}

job_allowed if jobs.may(input.job, input.operation, table)

# Member by member: data.examples.per_job_table is this package too, and a rule may not use itself.
table := {
	"jobs": data.examples.per_job_table.jobs,
	"rules": data.examples.per_job_table.rules,
}
