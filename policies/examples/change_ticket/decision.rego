# METADATA
# title: Changes of production need a ticket
# description: |
#   Reading, and writing to the projects that data.json lists, is allowed by the rights that the catalogue asks for. All
#   else also needs one item of authorization_details of type change: {type, ticket, actions, identifier, limit}. It
#   names the ticket of the change, the operations, the path below which it holds, and how many instances a call may ask
#   for in its body, so the route must show the policy the body (body: json). The limit is that of each call: a policy
#   does not remember calls. That a ticket is open, and not used up, is for the authorization server to know when it
#   puts the item into a token, which lives for minutes.
package examples.change_ticket

import data.lib.numbers
import data.lib.paths
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
	"message": "A change of production needs an item of type change: ticket, action, identifier and a limit.",
} if {
	not change_covered
}

denials contains {
	"code": "not_covered_by_authorization_details",
	"message": "No single item of authorization_details covers this operation on this resource.",
} if {
	not rights_cover
}

rights_cover if rights.details_cover

# The catalogue may ask for the item of type change by name.
rights_cover if {
	input.operation.authorization_details_type == "change"
	change_named
}

scopes_cover if {
	count(input.operation.scopes) > 0
	rights.scopes_cover
}

# Said of what needs no ticket, never of what needs one: a missing field then asks for the ticket.
change_covered if input.operation.access == "read"

change_covered if {
	input.operation.access == "write"
	is_array(data.examples.change_ticket.other_projects)

	# A null would be in a list with a null.
	is_string(input.operation.params.project)
	input.operation.params.project in data.examples.change_ticket.other_projects
}

change_covered if change_named

change_named if {
	is_array(input.token.authorization_details)
	some item in input.token.authorization_details
	covers(item)
}

covers(item) if {
	item.type == "change"
	object.remove(item, ["type", "ticket", "actions", "identifier", "limit"]) == {}
	names_ticket(item.ticket)
	is_array(item.actions)
	is_string(input.operation.name)
	input.operation.name in item.actions
	paths.contains_path(item.identifier, input.operation.resource)
	within(item.limit)
}

# The pattern must match the whole of it, also where its author forgot to say so, and one that matches everything matches
# no empty ticket.
names_ticket(ticket) if {
	is_string(ticket)
	trim_space(ticket) != ""
	regex.match(concat("", ["^(?:", data.examples.change_ticket.ticket_pattern, ")$"]), ticket)
}

# A missing limit is no limit of zero and no count is no small one: both are counts, 2.5 is none.
within(limit) if {
	numbers.count_of_something(limit)
	numbers.count_of_something(input.request.body.count)
	numbers.between(input.request.body.count, 1, limit)

	# Some APIs read names of members in any case, and the last one wins.
	count([name | some name, _ in input.request.body; lower(name) == "count"]) == 1
}
