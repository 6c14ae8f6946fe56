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
	some job in [{"ref_protected": false}, {"ref_protected": null}, {"ref_protected": "true"}, {}, null]
	decision := token_issuance.decision with input as request(job)
	decision == {"allow": true, "scopes": ["builds:read"], "authorization_details": [read]}
}

test_untrusted_event_gets_nothing if {
	decision := token_issuance.decision with input as request({
		"ref_protected": true,
		"event": "pull_request_target",
	})
	decision.allow == false
	decision.reasons == [{
		"code": "untrusted_event",
		"message": "The job was started by an event that strangers can cause.",
	}]
}

test_nothing_at_all_gets_nothing if {
	decision := token_issuance.decision with input as {}
	decision == {"allow": true, "scopes": [], "authorization_details": []}
}
