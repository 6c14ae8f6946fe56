# METADATA
# title: Changes of production need a ticket
# description: |
#   Reading is allowed by scope. Writing to a project that data.json lists as production also needs one item of
#   authorization_details of type change: {type, ticket, actions, identifier, limit}. It names the ticket of the change,
#   the operations, the path below which it holds, and how many instances may be asked for in the body, so the route must
#   show the policy the body (body: json).
package examples.change_ticket

import data.lib.numbers
import data.lib.paths
import data.lib.scopes

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
	"message": "A change of production needs an item of type change: ticket, action, identifier and a limit.",
} if {
	not change_covered
}

scopes_cover if {
	count(input.operation.scopes) > 0
	scopes.cover(input.token.scopes, input.operation.scopes)
}

# Said of what needs no ticket, never of what needs one: a missing field then asks for the ticket.
change_covered if input.operation.access == "read"

change_covered if {
	input.operation.access == "write"
	is_array(data.examples.change_ticket.other_projects)
	input.operation.params.project in data.examples.change_ticket.other_projects
}

change_covered if {
	is_array(input.token.authorization_details)
	some item in input.token.authorization_details
	covers(item)
}

covers(item) if {
	item.type == "change"
	object.remove(item, ["type", "ticket", "actions", "identifier", "limit"]) == {}
	is_string(item.ticket)
	regex.match(data.examples.change_ticket.ticket_pattern, item.ticket)
	is_array(item.actions)
	input.operation.name in item.actions
	paths.contains_path(item.identifier, input.operation.resource)
	within(item.limit)
}

# A missing limit is no limit of zero and no count is no small one: both must be numbers.
within(limit) if numbers.between(input.request.body.count, 1, limit)
