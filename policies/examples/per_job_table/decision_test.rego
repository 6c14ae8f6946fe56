package examples.per_job_table_test

import data.examples.per_job_table

call := {
	"operation": {"service": "projects", "name": "builds.create", "scopes": ["builds:write"]},
	"token": {"scopes": ["builds:write"]},
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
