package examples.break_glass_test

import data.examples.break_glass

approval := {
	"approver": "approver-1",
	"reason": "the deployment of this morning must go back",
	"not_before": 1795376000,
	"not_after": 1795377800,
}

call := {
	"request": {"time": 1795376900},
	"operation": {"service": "projects", "name": "deployments.create"},
	"token": {"claims": {"break_glass": approval}},
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
		document := object.union(object.remove(call, ["token"]), {"token": {"claims": {"break_glass": claim}}})
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
