package lib.jobs_test

import data.lib.jobs

table := {
	"jobs": {
		"github": {
			"acme/infra": {"repository_id": "456789", "rules": ["deploy", "look"]},
			"acme/idle": {"repository_id": "1", "rules": []},
			"acme/lost": {"repository_id": "2", "rules": ["no_such_rule"]},
			"acme/odd": {"repository_id": "3", "rules": "look"},
			"acme/map": {"repository_id": "4", "rules": {"look": "look"}},
			"acme/bare": {"rules": ["look"]},
		},
		"buildkite": {
			"acme/infra": {"repository_id": "none", "rules": ["look"]},
			"acme/null": {"repository_id": null, "rules": ["look"]},
		},
	},
	"rules": {
		"deploy": {
			"workflows": ["deploy.yml"],
			"environments": ["production"],
			"refs": "protected",
			"operations": {"projects": ["builds.create"]},
		},
		"look": {
			"workflows": "any",
			"environments": "any",
			"refs": "any",
			"operations": {"projects": ["builds.get"]},
		},
	},
}

job := {
	"provider": "github",
	"repository": "acme/infra",
	"repository_id": "456789",
	"workflow": "deploy.yml",
	"ref": "refs/heads/main",
	"ref_protected": true,
	"environment": "production",
}

deploy := {"service": "projects", "name": "builds.create"}

look := {"service": "projects", "name": "builds.get"}

may(patch, operation) if jobs.may(object.union(job, patch), operation, table)

# Whether the job may deploy with the rule changed.
may_by(patch) if {
	rule := object.union(table.rules.deploy, patch)
	jobs.may(job, deploy, object.union(table, {"rules": {"deploy": rule}}))
}

may_by_rule_without(member) if {
	rule := object.remove(table.rules.deploy, [member])
	jobs.may(job, deploy, {"jobs": table.jobs, "rules": {"deploy": rule}})
}

test_a_listed_job_may_do_what_its_rules_name if {
	may({}, deploy)
	may({}, look)
	may({"workflow": "test.yml", "environment": null, "ref_protected": false}, look)
}

test_each_condition_of_a_rule_must_hold if {
	every patch in [
		{"workflow": "test.yml"},
		{"workflow": null},
		{"environment": "staging"},
		{"environment": null},
		{"ref_protected": false},
		{"ref_protected": null},
		{"ref_protected": "true"},
	] {
		not may(patch, deploy)
	}
}

test_missing_claims_of_the_job_match_nothing if {
	every member in ["provider", "repository", "repository_id", "workflow", "environment", "ref_protected"] {
		not jobs.may(object.remove(job, [member]), deploy, table)
	}
}

test_the_repository_must_be_listed_with_its_id if {
	every patch in [
		{"repository": "acme/other"},
		{"repository": "ACME/infra"},
		{"repository": null},
		{"repository_id": "1"},
		{"repository_id": 456789},
		{"repository_id": null},
		{"provider": "gitlab"},
		{"provider": null},
		{"provider": "buildkite"},
	] {
		not may(patch, look)
	}
}

test_a_provider_without_ids_is_listed_with_none if {
	may({"provider": "buildkite", "repository_id": null}, look)
	not may({"provider": "buildkite", "repository_id": "1"}, look)
	not may({"provider": "buildkite", "repository": "acme/null", "repository_id": null}, look)
}

test_rules_that_are_missing_or_malformed_allow_nothing if {
	ids := {"acme/idle": "1", "acme/lost": "2", "acme/odd": "3", "acme/map": "4", "acme/bare": "456789"}
	every repository, id in ids {
		not may({"repository": repository, "repository_id": id}, look)
	}
}

test_an_empty_list_means_none_and_any_is_written_out if {
	every member in ["workflows", "environments"] {
		not may_by({member: []})
		not may_by({member: null})
		not may_by({member: ["any"]})
		not may_by({member: {"a": job.workflow, "b": job.environment}})
		not may_by_rule_without(member)
		may_by({member: "any"})
	}
}

test_refs_are_protected_or_any if {
	may_by({"refs": "any"})
	every refs in [null, true, "", "main", ["any"], ["protected"]] {
		not may_by({"refs": refs})
	}
	not may_by_rule_without("refs")
}

test_operations_are_listed_by_service if {
	may_by({"operations": {"projects": "any"}})
	every operations in [
		{},
		{"projects": []},
		{"projects": null},
		{"projects": "builds.create"},
		{"other": ["builds.create"]},
		["builds.create"],
		"any",
		null,
	] {
		not may_by_operations(operations)
	}
	not may_by_rule_without("operations")
}

# object.union would merge the operations of both.
may_by_operations(operations) if {
	rule := object.union(object.remove(table.rules.deploy, ["operations"]), {"operations": operations})
	jobs.may(job, deploy, {"jobs": table.jobs, "rules": {"deploy": rule}})
}

test_another_operation_is_not_allowed if {
	every operation in [
		{"service": "projects", "name": "builds.delete"},
		{"service": "projects", "name": null},
		{"service": "other", "name": "builds.create"},
		{"name": "builds.create"},
		{"service": "projects"},
		null,
	] {
		not may({}, operation)
	}
}

test_an_empty_table_allows_nothing if {
	every empty in [
		{},
		null,
		[],
		{"jobs": {}},
		{"jobs": table.jobs},
		{"rules": table.rules},
		{"jobs": null, "rules": null},
	] {
		not jobs.may(job, look, empty)
	}
}

test_no_job_is_allowed_nothing if {
	every none in [null, {}, [], "github"] {
		not jobs.may(none, look, table)
	}
}

test_what_only_resembles_a_row_is_not_it if {
	every patch in [
		{"repository": "acme/infra-evil"},
		{"repository": "acme/infra/"},
		{"repository": "acme/infra "},
		{"repository": "acme/inf"},
		{"repository": "infra"},
		{"repository": "acme%2Finfra"},
		{"repository": "acme/ınfra"},
		{"repository": ""},
		{"repository": "*"},
		{"repository": ["acme/infra"]},
		{"repository": {"acme/infra": true}},
		{"repository": 0},
		{"repository_id": ""},
		{"repository_id": "none"},
		{"repository_id": "45678"},
		{"repository_id": "4567890"},
		{"repository_id": "0456789"},
		{"repository_id": ["456789"]},
		{"provider": ""},
		{"provider": "*"},
		{"provider": "GitHub"},
		{"provider": ["github"]},
	] {
		not may(patch, look)
	}
}

test_an_id_spelled_none_is_an_id_and_no_missing_one if {
	not may({"provider": "buildkite", "repository_id": "none"}, look)
	listed := {
		"jobs": {"github": {"acme/infra": {"repository_id": "none", "rules": ["look"]}}},
		"rules": table.rules,
	}
	not jobs.may(object.union(job, {"repository_id": "none"}), look, listed)
}

test_rows_of_wildcards_are_rows_of_that_name if {
	rows := {"repository_id": "456789", "rules": ["look"]}
	every wild in [
		{"*": {"acme/infra": rows}},
		{"github": {"*": rows}},
		{"github": {"acme/*": rows}},
		{"github": {"any": rows}},
		{"github": {"acme/infra": object.union(rows, {"repository_id": "*"})}},
		{"github": {"acme/infra": object.union(rows, {"repository_id": "any"})}},
		{"github": {"acme/infra": object.union(rows, {"rules": ["*"]})}},
		{"github": {"acme/infra": object.union(rows, {"rules": "any"})}},
		{"github": {"acme/infra": object.union(rows, {"rules": ["any"]})}},
		{"github": [rows]},
		{"github": rows},
		[table.jobs.github],
	] {
		not jobs.may(job, look, {"jobs": wild, "rules": table.rules})
	}
	every member in ["workflows", "environments"] {
		not may_by({member: ["*"]})
		not may_by({member: "*"})
		not may_by({member: ["deploy.*", "prod*"]})
		not may_by({member: "Any"})
	}
	every operations in [{"*": ["builds.create"]}, {"projects": ["*"]}, {"projects": ["builds.*"]}, {"any": "any"}, {"projects": "*"}] {
		not may_by_operations(operations)
	}
}

test_any_operation_is_any_that_has_a_name if {
	rules := {"deploy": object.union(object.remove(table.rules.deploy, ["operations"]), {"operations": {"projects": "any"}})}
	open := {"jobs": table.jobs, "rules": rules}
	jobs.may(job, {"service": "projects", "name": "builds.delete"}, open)
	every operation in [
		{"service": "projects", "name": null},
		{"service": "projects", "name": ["builds.create"]},
		{"service": ["projects"], "name": "builds.create"},
		{"service": "projects"},
		{"service": "other", "name": "builds.create"},
		null,
		{},
	] {
		not jobs.may(job, operation, open)
	}
}

test_a_protected_ref_is_the_truth_value_true if {
	every flag in [false, null, "true", "false", "protected", "any", 1, 0, [], [true], {}, {"protected": true}, ""] {
		not jobs.may(object.union(object.remove(job, ["ref_protected"]), {"ref_protected": flag}), deploy, table)
	}
	every ref in ["refs/heads/main", "refs/heads/main2", "refs/tags/main", "refs/pull/1/merge", "main"] {
		not may({"ref": ref, "ref_protected": false}, deploy)
	}
}

test_rights_of_two_rules_never_add_up if {
	one := object.union(table.rules.deploy, {"workflows": ["other.yml"]})
	two := object.union(table.rules.deploy, {"environments": ["staging"]})
	not jobs.may(job, deploy, {"jobs": table.jobs, "rules": {"deploy": one, "look": two}})
}
