package examples.break_glass_test

import data.examples.break_glass

approval := {
	"approver": "approver-1",
	"reason": "the deployment of this morning must go back",
	"not_before": 1795376000,
	"not_after": 1795377800,
}

call := {
	"request": {
		"time": 1795376900,
		"origin": "https://cloud.example.com",
		"path": "/v1/projects/p1/deployments",
		"resource": "https://cloud.example.com/v1",
	},
	"operation": {
		"service": "projects",
		"name": "deployments.create",
		"resource": "projects/p1/deployments",
		"scopes": ["deployments:write"],
		"authorization_details_type": null,
	},
	"token": {
		"scopes": ["deployments:write"],
		"authorization_details": [],
		"claims": {"break_glass": approval},
	},
	"job": {"actor": "engineer-1"},
}

answer(patch) := decision if {
	document := object.union(call, patch)
	decision := break_glass.decision with input as document
}

codes(patch) := {reason.code | some reason in answer(patch).reasons}

codes_of(patch) := codes({"token": {"claims": {"break_glass": patch}}})

test_an_approved_emergency_is_allowed if {
	answer({}) == {"allow": true}
	answer({"request": {"time": 1795376000}}) == {"allow": true}
}

test_only_listed_operations if {
	codes({"operation": {"name": "projects.delete"}}) == {"not_an_emergency_operation"}
	codes({"operation": {"service": "other"}}) == {"not_an_emergency_operation"}
	codes({"operation": null}) == {"not_an_emergency_operation"}
}

test_without_the_claim_nothing if {
	every claim in [null, true, {}, "approver-1"] {
		token := object.union(object.remove(call.token, ["claims"]), {"claims": {"break_glass": claim}})
		document := object.union(object.remove(call, ["token"]), {"token": token})
		decision := break_glass.decision with input as document
		{reason.code | some reason in decision.reasons} == {"not_approved", "outside_the_window"}
	}
}

test_the_approver_is_listed_and_somebody_else if {
	codes_of({"approver": "somebody"}) == {"not_approved"}
	codes_of({"approver": null}) == {"not_approved"}
	codes({"job": {"actor": "approver-1"}}) == {"not_approved"}
	codes({"job": {"actor": "Approver-1"}}) == {"not_approved"}
	codes({"job": {"actor": " approver-1"}}) == {"not_approved"}
	codes_of({"reason": "  "}) == {"not_approved"}
	codes({"job": {"actor": null}}) == {"not_approved"}
	codes({"job": null}) == {"not_approved"}
	codes_of({"reason": ""}) == {"not_approved"}
}

test_the_window_holds_now_and_is_short if {
	every time in [1795375999, 1795377800, null, "1795376900"] {
		codes({"request": {"time": time}}) == {"outside_the_window"}
	}
	codes_of({"not_before": null}) == {"outside_the_window"}
	codes_of({"not_after": "1795377800"}) == {"outside_the_window"}
	codes_of({"not_after": 1795379601}) == {"outside_the_window"}
}

test_an_approval_is_no_more_than_the_token_covers if {
	codes({"token": {"scopes": ["builds:read"]}}) == {"insufficient_scope"}
	codes({"token": {"scopes": []}}) == {"insufficient_scope"}
	codes({"operation": {"scopes": []}}) == {"insufficient_scope"}
	typed := {"operation": {"authorization_details_type": "cloud_api"}}
	codes(typed) == {"not_covered_by_authorization_details"}
	item := {"type": "cloud_api", "actions": ["deployments.create"], "identifier": "projects/p1"}
	answer(object.union(typed, {"token": {"authorization_details": [item]}})) == {"allow": true}
	other := object.union(item, {"identifier": "projects/p10"})
	codes(object.union(typed, {"token": {"authorization_details": [other]}})) == {"not_covered_by_authorization_details"}
}

test_an_approval_that_says_more_than_is_known_may_be_narrower if {
	every value in ["secrets.get", ["secrets.get"], [], null, true] {
		codes_of({"operations": value}) == {"not_approved"}
	}
}

test_the_approver_is_one_text_spelled_as_in_the_list if {
	every approver in ["", " ", "approver-1 ", "Approver-1", "approver-10", "approver", ["approver-1"], {"a": "approver-1"}, 1, true] {
		codes_of({"approver": approver}) == {"not_approved"}
	}
	every reason in ["", "\t\n", null, true, 1, ["because"], {"text": "because"}] {
		with_reason := object.union(object.remove(approval, ["reason"]), {"reason": reason})
		codes({"token": {"claims": {"break_glass": with_reason}}}) == {"not_approved"}
	}
}

test_a_window_of_an_odd_kind_is_none if {
	every window in [
		{"not_before": 1795377800, "not_after": 1795376000},
		{"not_before": 1795376900, "not_after": 1795376900},
		{"not_before": -1e308, "not_after": 1e308},
		{"not_before": -1795376000, "not_after": 1795377800},
		{"not_before": 1795376000000, "not_after": 1795377800000},
		{"not_before": 0, "not_after": 1795377800},
		{"not_before": true, "not_after": true},
		{"not_before": ["1795376000"], "not_after": ["1795377800"]},
		{"not_before": "", "not_after": ""},
	] {
		codes_of(window) == {"outside_the_window"}
	}
	answer({"request": {"time": 1795377799}}) == {"allow": true}
	answer({"token": {"claims": {"break_glass": {"not_after": 1795379600}}}}) == {"allow": true}
}

test_a_list_that_is_missing_or_none_opens_nothing if {
	every nothing in [null, {}, [], "approver-1", {"approver-1": "approver-1"}] {
		decision := break_glass.decision with input as call with data.examples.break_glass.approvers as nothing
		{reason.code | some reason in decision.reasons} == {"not_approved"}
	}
	every nothing in [null, "3600", [], -1] {
		decision := break_glass.decision with input as call with data.examples.break_glass.maximum_seconds as nothing
		{reason.code | some reason in decision.reasons} == {"outside_the_window"}
	}
	every nothing in [null, {}, [], "any", {"projects": []}, {"projects": "any"}, {"projects": null}] {
		decision := break_glass.decision with input as call with data.examples.break_glass.operations as nothing
		{reason.code | some reason in decision.reasons} == {"not_an_emergency_operation"}
	}
	nameless := object.union(call, {"operation": {"name": null}})
	decision := break_glass.decision with input as nameless with data.examples.break_glass.operations as {"projects": [null]}
	{reason.code | some reason in decision.reasons} == {"not_an_emergency_operation"}
}
