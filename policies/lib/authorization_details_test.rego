package lib.authorization_details_test

import data.lib.authorization_details

item := {
	"type": "cloud_api",
	"actions": ["builds.get", "builds.create"],
	"identifier": "projects/p1",
	"locations": ["https://cloud.example.com/v1/"],
}

call := {
	"type": "cloud_api",
	"action": "builds.create",
	"identifier": "projects/p1/builds",
	"origin": "https://cloud.example.com",
	"url": "https://cloud.example.com/v1/projects/p1/builds",
	"resource": "https://cloud.example.com/v1",
}

covers(patch) if authorization_details.covers(object.union(item, patch), call)

covers_without(member) if authorization_details.covers(object.remove(item, [member]), call)

test_an_item_covers_a_call_it_names if {
	authorization_details.covers(item, call)
	covers({"actions": ["builds.create"]})
	covers({"identifier": "projects/p1/"})
	covers({"identifier": "projects/p1/builds"})
	covers({"identifier": "projects"})
}

test_the_type_must_be_the_one_of_the_operation if {
	every type in ["", "cloud", "cloud_api2", "Cloud_API", "payment_initiation", null, 1, ["cloud_api"]] {
		not covers({"type": type})
	}
	not covers_without("type")
}

test_a_call_without_type_is_covered_by_nothing if {
	not authorization_details.covers(item, object.remove(call, ["type"]))
	not authorization_details.covers(item, object.union(call, {"type": null}))
}

test_what_is_null_on_both_sides_is_not_the_same if {
	every member in ["type", "action", "identifier"] {
		not authorization_details.covers(null_item, object.union(null_call, {member: null}))
	}
	not authorization_details.covers(null_item, null_call)
	not authorization_details.covers(
		object.union(item, {"actions": [null]}),
		object.union(call, {"action": null}),
	)
	not authorization_details.covers(
		object.union(item, {"type": null}),
		object.union(call, {"type": null}),
	)
}

null_item := {"type": null, "actions": [null], "identifier": null}

null_call := object.union(call, {"type": null, "action": null})

test_identifiers_are_compared_as_they_are_spelled if {
	every resource in [
		"projects/P1/builds",
		"projects/ｐ1/builds",
		"projects/p1%2Fbuilds",
		"projects/p1%2fbuilds",
		"projects/./p1/builds",
		"projects//p1/builds",
		"projects/p2/../p1/builds",
		"/projects/p1/builds",
		"PROJECTS/p1/builds",
		" projects/p1/builds",
		"projects/p1\\builds",
		"projects/p1;x/builds",
		"",
		null,
		["projects", "p1"],
	] {
		not authorization_details.covers(item, object.union(call, {"identifier": resource}))
	}
	composed := object.union(item, {"identifier": "projects/caf\u00e9"})
	authorization_details.covers(composed, object.union(call, {"identifier": "projects/caf\u00e9/x"}))
	not authorization_details.covers(composed, object.union(call, {"identifier": "projects/cafe\u0301/x"}))
}

test_actions_must_name_the_operation if {
	every actions in [
		[],
		["builds.get"],
		["builds"],
		["builds.*"],
		["*"],
		["Builds.Create"],
		["builds.create "],
		[["builds.create"]],
		[{"action": "builds.create"}],
		"builds.create",
		{"builds.create": true},
		{"action": "builds.create"},
		null,
		true,
	] {
		not covers({"actions": actions})
	}
	not covers_without("actions")
}

test_the_identifier_must_contain_the_resource_by_segment if {
	every identifier in [
		"",
		"/",
		"p1",
		"projects/p",
		"projects/p10",
		"projects/p2",
		"projects/p1/builds/b1",
		"/projects/p1",
		"projects/*",
		"*",
		null,
		1,
		["projects/p1"],
		{"projects": "p1"},
	] {
		not covers({"identifier": identifier})
	}
	not covers_without("identifier")
}

test_projects_p10_is_not_covered_by_p1 if {
	not authorization_details.covers(item, object.union(call, {"identifier": "projects/p10/builds"}))
}

test_locations_must_contain_the_call if {
	covers({"locations": ["https://other.example.com/", "https://cloud.example.com/v1"]})
	covers({"locations": ["https://cloud.example.com"]})
	covers({"locations": ["https://cloud.example.com/v1/projects/p1"]})
	every locations in [
		[],
		["https://other.example.com/"],
		["https://cloud.example.com.evil.example/"],
		["https://cloud.example.com/v10/"],
		["https://cloud.example.com/v1/projects/p10"],
		["https:"],
		[""],
		[null],
		[["https://cloud.example.com/v1/"]],
		"https://cloud.example.com/v1/",
		{"https://cloud.example.com/v1/": true},
		{"location": "https://cloud.example.com/v1/"},
		null,
		false,
	] {
		not covers({"locations": locations})
	}
}

test_locations_may_be_left_out if covers_without("locations")

test_the_resource_of_the_token_is_a_location_wherever_it_is if {
	elsewhere := object.union(call, {"resource": "https://api.example.net/projects"})
	authorization_details.covers(object.union(item, {"locations": ["https://api.example.net/projects/"]}), elsewhere)
	not authorization_details.covers(object.union(item, {"locations": ["https://api.example.net/"]}), elsewhere)
}

test_a_member_that_is_not_known_may_be_a_restriction if {
	every member in ["privileges", "datatypes", "max_count", "Actions", ""] {
		not covers({member: ["anything"]})
		not covers({member: null})
	}
}

test_an_item_that_is_no_object_covers_nothing if {
	every wrong in [null, true, 1, "cloud_api", [], [item], {}] {
		not authorization_details.covers(wrong, call)
	}
}
