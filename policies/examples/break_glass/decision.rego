# METADATA
# title: Break-glass
# description: |
#   In an emergency a job may do the operations that data.json lists, for a short while, with a named approver who is not
#   the one that runs the job. The authorization server puts the claim break_glass into the token: {approver, reason,
#   not_before, not_after}, times in seconds since the Unix epoch. Without it this policy allows nothing.
package examples.break_glass

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
	"code": "not_approved",
	"message": "The token names no approver from the list, or one who runs the job, or no reason.",
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

operation_listed if input.operation.name in data.examples.break_glass.operations[input.operation.service]

approved if {
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
