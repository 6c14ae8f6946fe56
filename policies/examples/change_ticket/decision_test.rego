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
	"request": {
		"origin": "https://cloud.example.com",
		"path": "/v1/projects/p1/deployments",
		"resource": "https://cloud.example.com/v1",
		"body": {"count": 2},
	},
	"operation": {
		"name": "deployments.create",
		"resource": "projects/p1/deployments",
		"params": {"project": "p1"},
		"access": "write",
		"scopes": ["deployments:write"],
		"authorization_details_type": null,
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

test_items_are_alternatives_and_never_add_up if {
	answer(with_items([object.union(item, {"limit": 1}), item])) == {"allow": true}
	codes(with_items([object.union(item, {"limit": 1}), object.union(item, {"identifier": "projects/p2"})])) == uncovered
	codes(with_items([object.union(item, {"limit": 1}), object.union(item, {"limit": 1})])) == uncovered
	codes(with_items([object.union(item, {"ticket": ""}), object.union(item, {"limit": 0})])) == uncovered
	codes(with_items([object.union(item, {"actions": []}), object.union(item, {"limit": "3"})])) == uncovered
	every items in [[], null, item, {"item": item}, "change", [null], [[item]]] {
		codes(with_items(items)) == uncovered
	}
}

with_items(items) := {"token": {"authorization_details": items}}

test_a_ticket_is_one_text_that_matches_whole if {
	every ticket in [
		"",
		" ",
		"CHG-",
		"CHG-204",
		"chg-20481",
		" CHG-20481",
		"CHG-20481 ",
		"CHG-20481\n",
		"x\nCHG-20481",
		"CHG-20481\u0000",
		"CHG-２０４８１",
		"CHG-12345678901",
		"CHG-20481,CHG-20482",
		["CHG-20481"],
		{"id": "CHG-20481"},
		20481,
		true,
	] {
		codes(with_item({"ticket": ticket})) == uncovered
	}
}

test_a_pattern_without_ends_or_missing_opens_nothing_more if {
	by_pattern("CHG-[0-9]+", "CHG-20481") == {"allow": true}
	every ticket in ["CHG-20481 and more", "no CHG-20481", "CHG-20481\n"] {
		by_pattern("CHG-[0-9]+", ticket).allow == false
	}
	every pattern in ["", ".*", "|CHG-20481"] {
		by_pattern(pattern, "").allow == false
		by_pattern(pattern, " ").allow == false
	}
	every pattern in [null, 1, [], {}, "(", "\\"] {
		by_pattern(pattern, "CHG-20481").allow == false
	}
}

by_pattern(pattern, ticket) := decision if {
	document := object.union(call, with_item({"ticket": ticket}))
	decision := change_ticket.decision with input as document
		with data.examples.change_ticket.ticket_pattern as pattern
}

test_a_limit_and_a_count_are_whole_numbers if {
	every limit in [0, -3, 2.5, 1.9, 1e300, 9007199254740992, "3", "", true, [3], {"value": 3}, {"value": 3, "unit": "dozen"}] {
		codes(with_item({"limit": limit})) == uncovered
	}
	every count in [0, -1, 0.5, 2.5, 4, 1e300, 9007199254740993, "2", "", true, [2], {"value": 2}] {
		codes({"request": {"body": {"count": count}}}) == uncovered
	}
	codes(with_item({"unit": "dozen"})) == uncovered
	every body in [[], [{"count": 2}], "count", 2, true, {}, {"Count": 2}, {"counts": 2}] {
		codes_of_body(body) == uncovered
	}
	codes_of_body({"count": 2}) == set()
}

# Replaces the whole body, where object.union would merge two objects.
codes_of_body(body) := {reason.code | some reason in object.get(decision, "reasons", [])} if {
	request := object.union(object.remove(call.request, ["body"]), {"body": body})
	decision := change_ticket.decision with input as object.union(object.remove(call, ["request"]), {"request": request})
}

test_a_second_count_in_another_case_is_no_count if {
	codes({"request": {"body": {"Count": 200}}}) == uncovered
	every name in ["Count", "COUNT", "counT"] {
		codes_of_body({name: 2}) == uncovered
	}
	answer({"request": {"body": {"counter": 200, "count ": 200}}}) == {"allow": true}
}

test_the_identifier_contains_by_segment if {
	every identifier in [
		"projects/p1",
		"projects/p1/",
		"projects/p1/deployments",
		"projects",
	] {
		answer(with_item({"identifier": identifier})) == {"allow": true}
	}
	every identifier in [
		"",
		"/",
		"projects/p",
		"projects/p1/deployments/d1",
		"projects/p10",
		"projects/P1",
		"projects/p1//",
		"projects/./p1",
		"projects/p2/../p1",
		"projects/%701",
		"projects/ｐ1",
		"*",
		"projects/*",
		["projects/p1"],
	] {
		codes(with_item({"identifier": identifier})) == uncovered
	}
}

test_what_needs_no_ticket_is_said_exactly if {
	none := with_items([])
	every access in ["Read", "read ", "", "none", true, ["read"], null] {
		codes(object.union(none, {"operation": {"access": access}})) == uncovered
	}
	every project in ["", "sandbox2", "Sandbox", "sandbox/", "sand", ["sandbox"], null] {
		codes(object.union(none, {"operation": {"params": {"project": project}}})) == uncovered
	}
	codes(object.union(none, {"operation": {"params": null}})) == uncovered
	every projects in [null, {}, "sandbox", {"sandbox": "sandbox"}] {
		decision := change_ticket.decision with input as object.union(call, object.union(none, {"operation": {"params": {"project": "sandbox"}}}))
			with data.examples.change_ticket.other_projects as projects
		decision.allow == false
	}
	"insufficient_scope" in codes({"operation": null})
	"not_covered_by_authorization_details" in codes({"operation": null})
}

test_what_the_catalogue_asks_for_besides_must_be_there if {
	cloud := {"type": "cloud_api", "actions": ["deployments.create"], "identifier": "projects/p1"}
	typed := {"operation": {"authorization_details_type": "cloud_api"}}
	codes(typed) == uncovered
	answer(object.union(typed, with_items([item, cloud]))) == {"allow": true}
	codes(object.union(typed, with_items([cloud]))) == uncovered
	codes(object.union(typed, with_items([item, object.union(cloud, {"identifier": "projects/p10"})]))) == uncovered
	reading := object.union(typed, {"operation": {"access": "read"}})
	codes(object.union(reading, with_items([]))) == uncovered
	answer(object.union(reading, with_items([cloud]))) == {"allow": true}
}

test_the_catalogue_may_ask_for_the_change_by_name if {
	typed := {"operation": {"authorization_details_type": "change"}}
	answer(typed) == {"allow": true}
	codes(object.union(typed, with_item({"ticket": "none"}))) == uncovered
	codes(object.union(object.union(typed, {"operation": {"access": "read"}}), with_items([]))) == uncovered
}
