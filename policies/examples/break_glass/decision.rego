# METADATA
# title: Break-glass
# description: |
#   In an emergency a job may do the operations that data.json lists, for a short while, with a named approver who is not
#   the one that runs the job. The authorization server puts the claim break_glass into the token: {approver, reason,
#   not_before, not_after}, times in seconds since the Unix epoch. Without it this policy allows nothing, and with it no
#   more than scopes and authorization_details of the token cover. Approvers are named as the provider names the actor
#   of a job; under another name the same person would pass for somebody else.
package examples.break_glass

import data.lib.rights
import data.lib.time_windows

# METADATA
# title: The decision
# description: Not marked as an entrypoint, so that a gateway that is asked for another rule does not carry it.
# scope: document
decision := {"allow": true} if count(denials) == 0

decision := {"allow": false, "reasons": [denial | some denial in denials]} if count(denials) > 0

denials contains {
	"code": "not_an_emergency_operation",
	"message": "This operation is not among those for emergencies.",
} if {
	not operation_listed
}

denials contains {
	"code": "insufficient_scope",
	"message": "The scope of the token does not cover this operation.",
} if {
	operation_listed
	not scopes_cover
}

denials contains {
	"code": "not_covered_by_authorization_details",
	"message": "No single item of authorization_details covers this operation on this resource.",
} if {
	operation_listed
	not rights.details_cover
}

denials contains {
	"code": "not_approved",
	"message": "The approval names no approver of the list, or the one who runs the job, no reason, or what is not known.",
} if {
	not approved
}

denials contains {
	"code": "outside_the_window",
	"message": "The approval does not hold at this time, or holds for too long.",
} if {
	not in_window
}

approval := input.token.claims.break_glass

# An operation that asks for no scope is not protected by one.
scopes_cover if {
	count(input.operation.scopes) > 0
	rights.scopes_cover
}

operation_listed if {
	listed := data.examples.break_glass.operations[input.operation.service]
	is_array(listed)
	is_string(input.operation.name)
	input.operation.name in listed
}

approved if {
	# A member that is not known here may be a restriction: to one project, one operation.
	object.remove(approval, ["approver", "reason", "not_before", "not_after"]) == {}
	is_array(data.examples.break_glass.approvers)
	is_string(approval.approver)
	approval.approver in data.examples.break_glass.approvers

	# Four eyes: without an actor nobody can say that these are two people. Names of accounts do not differ in case alone.
	is_string(input.job.actor)
	lower(trim_space(approval.approver)) != lower(trim_space(input.job.actor))
	is_string(approval.reason)
	trim_space(approval.reason) != ""
}

in_window if {
	time_windows.contains_moment(approval, input.request.time)
	time_windows.lasts_at_most(approval, data.examples.break_glass.maximum_seconds)
}
