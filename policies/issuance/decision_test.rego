package token_issuance_test

import data.token_issuance

read := {"type": "cloud_api", "actions": ["builds.get", "builds.list"], "identifier": "projects/p1"}

write := {"type": "cloud_api", "actions": ["builds.get", "builds.create"], "identifier": "projects/p1"}

kubernetes := {"type": "kubernetes", "resources": ["pods"], "namespaces": ["a"]}

request(job) := {"job": job, "allowed": {
	"scopes": ["builds:read", "builds:write"],
	"authorization_details": [read, write, kubernetes],
}}

test_protected_ref_gets_everything if {
	decision := token_issuance.decision with input as request({"ref_protected": true, "event": "push"})
	decision == {
		"allow": true,
		"scopes": ["builds:read", "builds:write"],
		"authorization_details": [read, write, kubernetes],
	}
}

test_other_refs_get_reading if {
	every job in [
		{"ref_protected": false},
		{"ref_protected": null},
		{"ref_protected": "true"},
		{"ref_protected": 1},
		{"ref_protected": [true]},
		{"ref_protected": false, "event": "pull_request"},
		{"ref": "refs/heads/main", "ref_protected": false},
		{},
		null,
	] {
		decision := token_issuance.decision with input as request(job)
		decision == {"allow": true, "scopes": ["builds:read"], "authorization_details": [read]}
	}
}

# What another ref gets of what is allowed.
granted(scopes, details) := decision if {
	asked := {"job": {"ref_protected": false, "event": "push"}, "allowed": {"scopes": scopes, "authorization_details": details}}
	decision := token_issuance.decision with input as asked
}

test_what_only_resembles_reading_is_not_granted if {
	every scope in ["read", "builds:reads", "builds:Read", "builds:read ", "builds:read:all", "builds:readwrite", "", null, 1, ["builds:read"]] {
		granted([scope], []).scopes == []
	}
	every actions in [
		[],
		["builds.get", "builds.create"],
		["get"],
		["builds.GET"],
		["builds.getall"],
		["builds.get "],
		[null],
		[["builds.get"]],
		"builds.get",
		{"a": "builds.get"},
		null,
	] {
		granted([], [object.union(read, {"actions": actions})]).authorization_details == []
	}
	granted([], [object.remove(read, ["actions"]), null, "builds.get", ["builds.get"]]).authorization_details == []
}

test_reading_of_secrets_is_more_than_reading if {
	every scope in ["secrets:read", "prod:secrets:read", "prod.secrets:read"] {
		granted([scope, "builds:read"], []).scopes == ["builds:read"]
	}
	every action in ["secrets.get", "secrets.list", "prod.secrets.get"] {
		granted([], [object.union(read, {"actions": ["builds.get", action]})]).authorization_details == []
	}
	granted(["nosecrets:read"], []).scopes == ["nosecrets:read"]
	protected := request({"ref_protected": true, "event": "push"})
	all := object.union(protected, {"allowed": {"scopes": ["secrets:read"]}})
	decision := token_issuance.decision with input as all
	decision.scopes == ["secrets:read"]
}

test_an_event_that_strangers_cause_or_nobody_listed_gets_nothing if {
	every event in [
		"pull_request_target",
		"issue_comment",
		"issues",
		"discussion",
		"discussion_comment",
		"fork",
		"watch",
		"gollum",
		"workflow_run",
		"check_run",
		"external_pull_request_event",
		"something_new",
		"Push",
		"push ",
		"",
		0,
		false,
		["push"],
		{"push": true},
	] {
		decision := token_issuance.decision with input as request({"ref_protected": true, "event": event})
		decision.allow == false
		{reason.code | some reason in decision.reasons} == {"untrusted_event"}
	}
}

test_a_listed_event_or_none_gets_what_its_ref_gets if {
	every event in ["push", "schedule", "workflow_dispatch", "release", "web", "ui", "merge_request_event", null] {
		decision := token_issuance.decision with input as request({"ref_protected": true, "event": event})
		decision.scopes == ["builds:read", "builds:write"]
	}
}

test_nothing_at_all_gets_nothing if {
	decision := token_issuance.decision with input as {}
	decision == {"allow": true, "scopes": [], "authorization_details": []}
}
