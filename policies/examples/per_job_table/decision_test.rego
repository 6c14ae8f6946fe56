package examples.per_job_table_test

import data.examples.per_job_table

call := {
	"request": {
		"origin": "https://cloud.example.com",
		"path": "/v1/projects/p1/builds",
		"resource": "https://cloud.example.com/v1",
	},
	"operation": {
		"service": "projects",
		"name": "builds.create",
		"resource": "projects/p1/builds",
		"scopes": ["builds:write"],
		"authorization_details_type": null,
	},
	"token": {"scopes": ["builds:write"], "authorization_details": []},
	"job": {
		"provider": "github",
		"repository": "acme/infra",
		"repository_id": "456789",
		"workflow": "deploy.yml",
		"environment": "production",
		"ref_protected": true,
	},
}

codes(patch) := {reason.code | some reason in answer(patch).reasons}

answer(patch) := decision if {
	document := object.union(call, patch)
	decision := per_job_table.decision with input as document
}

test_the_listed_job_may_do_what_its_rule_names if answer({}) == {"allow": true}

test_each_part_of_the_rule_counts if {
	every patch in [
		{"repository": "acme/docs"},
		{"repository_id": "1"},
		{"workflow": "test.yml"},
		{"environment": "staging"},
		{"ref_protected": false},
	] {
		codes({"job": patch}) == {"job_not_allowed"}
	}
	codes({"operation": {"name": "projects.delete"}}) == {"job_not_allowed"}
}

test_a_token_without_a_job_may_do_nothing if codes({"job": null}) == {"job_not_allowed"}

test_the_scope_must_cover_it_too if {
	codes({"token": {"scopes": []}}) == {"insufficient_scope"}
	codes({"operation": {"scopes": []}}) == {"insufficient_scope"}
}

item := {"type": "cloud_api", "actions": ["builds.create"], "identifier": "projects/p1"}

with_items(items) := {
	"operation": {"authorization_details_type": "cloud_api"},
	"token": {"authorization_details": items},
}

test_an_item_must_cover_it_where_the_catalogue_asks_for_one if {
	answer(with_items([item])) == {"allow": true}
	answer(with_items([{"type": "other"}, item])) == {"allow": true}
	every items in [
		[],
		null,
		item,
		[object.union(item, {"identifier": "projects/p10"})],
		[object.union(item, {"identifier": "projects/p2"})],
		[object.union(item, {"actions": ["builds.get"]})],
		[object.union(item, {"actions": ["builds.get"]}), object.union(item, {"identifier": "projects/p2"})],
		[object.union(item, {"until": "tomorrow"})],
	] {
		codes(with_items(items)) == {"not_covered_by_authorization_details"}
	}
	lost := object.remove(call.operation, ["authorization_details_type"])
	decision := per_job_table.decision with input as object.union(object.remove(call, ["operation"]), {"operation": lost})
	{reason.code | some reason in decision.reasons} == {"not_covered_by_authorization_details"}
}

test_what_only_resembles_the_row_has_no_rights if {
	every patch in [
		{"repository": "acme/infra-evil"},
		{"repository": "acme/infra/"},
		{"repository": "acme/infr"},
		{"repository": "Acme/Infra"},
		{"repository": "evil/acme/infra"},
		{"repository": "*"},
		{"repository": ["acme/infra"]},
		{"repository_id": "4567890"},
		{"repository_id": 456789},
		{"repository_id": ["456789"]},
		{"repository_id": "none"},
		{"workflow": "Deploy.yml"},
		{"workflow": "deploy.yml@refs/heads/x"},
		{"workflow": "evil/infra/.github/workflows/deploy.yml@refs/heads/main"},
		{"workflow": ["deploy.yml"]},
		{"environment": "production2"},
		{"environment": "Production"},
		{"environment": ["production"]},
		{"environment": ""},
		{"ref_protected": "true"},
		{"ref_protected": "false"},
		{"ref_protected": 1},
		{"ref_protected": [true]},
		{"ref": "refs/pull/7/merge", "ref_protected": false},
		{"ref": "refs/tags/main", "ref_protected": null},
	] {
		codes({"job": patch}) == {"job_not_allowed"}
	}
}

test_an_operation_that_nobody_knows_is_refused if {
	every patch in [null, {"name": null}, {"service": null}, {"name": "any"}, {"name": "*"}, {"name": "Builds.create"}, {"name": ["builds.create"]}] {
		"job_not_allowed" in codes({"operation": patch})
	}
}
