package examples.change_ticket_test

import data.examples.change_ticket

item := {
	"type": "change",
	"ticket": "CHG-20481",
	"actions": ["deployments.create"],
	"identifier": "projects/p1",
	"limit": 3,
}

call := {
	"request": {"body": {"count": 2}},
	"operation": {
		"name": "deployments.create",
		"resource": "projects/p1/deployments",
		"params": {"project": "p1"},
		"access": "write",
		"scopes": ["deployments:write"],
	},
	"token": {"scopes": ["deployments:write"], "authorization_details": [item]},
}

answer(patch) := decision if {
	document := object.union(call, patch)
	decision := change_ticket.decision with input as document
}

codes(patch) := {reason.code | some reason in answer(patch).reasons}

with_item(patch) := {"token": {"authorization_details": [object.union(item, patch)]}}

without(member) := {"token": {"authorization_details": [object.remove(item, [member])]}}

uncovered := {"not_covered_by_authorization_details"}

test_a_change_with_a_ticket_is_allowed_up_to_its_limit if {
	answer({}) == {"allow": true}
	answer({"request": {"body": {"count": 3}}}) == {"allow": true}
	codes({"request": {"body": {"count": 4}}}) == uncovered
	codes({"request": {"body": {"count": -1}}}) == uncovered
	codes({"request": {"body": {"count": null}}}) == uncovered
	codes({"request": {"body": null}}) == uncovered
}

test_each_member_of_the_item_counts if {
	every member in ["type", "ticket", "actions", "identifier", "limit"] {
		codes(without(member)) == uncovered
		codes(with_item({member: null})) == uncovered
	}
	every patch in [
		{"type": "cloud_api"},
		{"ticket": "none"},
		{"ticket": "CHG-20481 and more"},
		{"actions": ["deployments.get"]},
		{"actions": []},
		{"identifier": "projects/p10"},
		{"limit": 1},
		{"limit": "3"},
		{"until": "tomorrow"},
	] {
		codes(with_item(patch)) == uncovered
	}
}

test_other_projects_and_reading_need_no_ticket if {
	none := {"token": {"authorization_details": []}}
	answer(object.union(none, {"operation": {"params": {"project": "sandbox"}}})) == {"allow": true}
	answer(object.union(none, {"operation": {"access": "read"}})) == {"allow": true}
	codes(object.union(none, {"operation": {"access": "admin", "params": {"project": "sandbox"}}})) == uncovered
	codes(none) == uncovered
}

test_the_scope_must_cover_it_too if {
	codes({"token": {"scopes": []}}) == {"insufficient_scope"}
	codes({"operation": {"scopes": []}}) == {"insufficient_scope"}
}
