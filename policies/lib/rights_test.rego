package lib.rights_test

import data.lib.rights

item := {"type": "cloud_api", "actions": ["builds.create"], "identifier": "projects/p1"}

call := {
	"request": {
		"origin": "https://cloud.example.com",
		"path": "/v1/projects/p1/builds",
		"resource": "https://cloud.example.com/v1",
	},
	"operation": {
		"name": "builds.create",
		"resource": "projects/p1/builds",
		"scopes": ["builds:write"],
		"authorization_details_type": "cloud_api",
	},
	"token": {"scopes": ["builds:write"], "authorization_details": [item]},
}

asked_for(patch) if rights.asked_for with input as object.union(call, {"operation": patch})

scopes_cover(patch) if rights.scopes_cover with input as object.union(call, patch)

details_cover(patch) if rights.details_cover with input as object.union(call, patch)

test_the_catalogue_asks_for_scopes_or_for_an_item if {
	asked_for({})
	asked_for({"scopes": []})
	asked_for({"authorization_details_type": null})
	every scopes in [[], {}, null, 1, ""] {
		not asked_for({"scopes": scopes, "authorization_details_type": null})
	}
	every type in [null, true, 1, [], {}] {
		not asked_for({"scopes": [], "authorization_details_type": type})
	}
}

test_the_scope_of_the_token_covers_all_that_is_asked_for if {
	scopes_cover({})
	not scopes_cover({"token": {"scopes": ["builds:read"]}})
	not scopes_cover({"token": null})
	not scopes_cover({"operation": {"scopes": null}})
	not scopes_cover({"operation": null})
}

test_an_item_covers_where_one_is_asked_for if {
	details_cover({})
	details_cover({"operation": {"authorization_details_type": null}, "token": {"authorization_details": []}})
	not details_cover({"token": {"authorization_details": []}})
	not details_cover({"token": {"authorization_details": {"item": item}}})
	not details_cover({"token": null})
	every type in ["", "other", false, 0, [], {}] {
		not details_cover({"operation": {"authorization_details_type": type}})
	}
	not details_cover({"operation": null})
	not details_cover({"request": null})
}

test_a_type_that_is_missing_is_not_none if {
	operation := object.remove(call.operation, ["authorization_details_type"])
	without := object.union(object.remove(call, ["operation"]), {"operation": operation})
	not rights.details_cover with input as without
	not rights.details_cover with input as {}
}
