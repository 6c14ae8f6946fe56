package sallyport_test

import data.sallyport

request := {
	"id": "01JD8Z0000000000000000AAAA",
	"time": 1795376000,
	"route": "s3",
	"method": "PUT",
	"host": "cloud.example.com",
	"origin": "https://cloud.example.com",
	"resource": "https://cloud.example.com",
	"path": "/releases/web/app.tar",
	"segments": ["releases", "web", "app.tar"],
	"query": {},
	"headers": {},
	"body": null,
	"body_state": "not_requested",
	"peer_address": "192.0.2.7",
}

operation := {
	"service": "s3",
	"name": "objects.put",
	"resource": "buckets/releases/web/app.tar",
	"params": {"bucket": "releases", "key1": "web", "key2": "app.tar"},
	"access": "write",
	"scopes": ["objects:write"],
	"authorization_details_type": "s3_api",
}

item := {
	"type": "s3_api",
	"actions": ["objects.put"],
	"identifier": "buckets/releases",
	"locations": ["https://cloud.example.com"],
}

token := {
	"kind": "jwt",
	"issuer": "https://as.example.com",
	"subject": "wf-4711",
	"audience": ["https://cloud.example.com"],
	"jti": "t-1",
	"issued_at": 1795375990,
	"expires_at": 1795376290,
	"scopes": ["objects:read", "objects:write"],
	"authorization_details": [item],
	"binding": {"method": "dpop", "thumbprint": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
	"claims": {},
}

job := {
	"provider": "github",
	"repository": "acme/infra",
	"repository_id": "456789",
	"workflow": "deploy.yml",
	"ref": "refs/heads/main",
	"ref_protected": true,
	"environment": "production",
	"event": "push",
	"run_id": "1",
	"actor": "octocat",
	"runner": "github-hosted",
	"claims": {},
}

call := {
	"version": 1,
	"request": request,
	"operation": operation,
	"client": {"id": "wf-4711", "auth_method": "private_key_jwt"},
	"token": token,
	"job": job,
}

# A table of its own, so that what stands in data.json may change.
table := {
	"tokens_without_job": "allow",
	"jobs": {"github": {"acme/infra": {"repository_id": "456789", "rules": ["deploy", "look"]}}},
	"rules": {
		"deploy": {
			"workflows": ["deploy.yml"],
			"environments": ["production"],
			"refs": "protected",
			"operations": {"s3": ["objects.put"]},
			"resources": ["buckets/releases"],
		},
		"look": {
			"workflows": "any",
			"environments": "any",
			"refs": "any",
			"operations": {"s3": ["objects.get"]},
			"resources": ["buckets/releases"],
		},
	},
}

decide(document) := decide_by(document, table)

decide_by(document, starter) := decision if {
	decision := sallyport.decision with input as document with data.starter as starter
}

with_operation(patch) := object.union(call, {"operation": patch})

with_token(patch) := object.union(call, {"token": patch})

with_job(patch) := object.union(call, {"job": patch})

with_item(patch) := with_token({"authorization_details": [object.union(item, patch)]})

# Replaces a whole member, where object.union would merge two objects.
put(document, member, value) := object.union(object.remove(document, [member]), {member: value})

allowed(document) if decide(document) == {"allow": true}

# Refused with exactly these codes.
refused(document, codes) if refused_by(document, table, codes)

refused_by(document, starter, codes) if {
	decision := decide_by(document, starter)
	decision.allow == false
	{reason.code | some reason in decision.reasons} == codes
	every reason in decision.reasons {
		is_string(reason.message)
	}
}

test_a_call_that_everything_covers_is_allowed if {
	allowed(call)
	allowed(with_token({"scopes": ["objects:write"]}))
	allowed(with_token({"authorization_details": [{"type": "other"}, item]}))
	allowed(with_item({"locations": ["https://cloud.example.com/releases/web"]}))
	allowed(with_token({"authorization_details": [object.remove(item, ["locations"])]}))
}

test_an_unknown_operation_is_refused_alone if {
	every wrong in [null, [], {}, "objects.put", true] {
		refused(put(call, "operation", wrong), {"operation_unknown"})
	}
	refused(object.remove(call, ["operation"]), {"operation_unknown"})
}

test_an_operation_without_its_name_is_unknown if {
	every member in ["service", "name", "resource"] {
		refused(with_operation({member: null}), {"operation_unknown"})
		refused(with_operation({member: 1}), {"operation_unknown"})
	}
}

test_an_empty_input_is_refused if {
	every document in [{}, null, [], 0, "", true] {
		refused(document, {"operation_unknown"})
	}
}

test_an_operation_that_asks_for_nothing_is_refused if {
	unprotected := {"scopes": [], "authorization_details_type": null}
	refused(with_operation(unprotected), {"operation_unprotected"})
	nothing := {"scopes": null, "authorization_details_type": null}
	refused(with_operation(nothing), {"operation_unprotected", "insufficient_scope"})
}

test_scopes_alone_suffice_where_the_catalogue_asks_for_no_details if {
	scopes_only := {"operation": {"authorization_details_type": null}}
	document := object.union(with_token({"authorization_details": []}), scopes_only)
	allowed(document)
	refused(object.union(document, {"token": {"scopes": []}}), {"insufficient_scope"})
}

test_details_alone_suffice_where_the_catalogue_asks_for_no_scope if {
	document := object.union(with_token({"scopes": []}), {"operation": {"scopes": []}})
	allowed(document)
	refused(object.union(document, {"token": {"authorization_details": []}}), {"not_covered_by_authorization_details"})
}

test_insufficient_scope if {
	every scopes in [[], ["objects:read"], ["objects"], null, "objects:write", {"objects:write": "objects:write"}] {
		refused(with_token({"scopes": scopes}), {"insufficient_scope"})
	}
	refused(with_operation({"scopes": ["objects:write", "objects:admin"]}), {"insufficient_scope"})
}

test_not_covered_by_authorization_details if {
	every details in [
		[],
		[{}],
		[null],
		["s3_api"],
		null,
		{"item": item},
		"s3_api",
		[object.union(item, {"type": "other"})],
		[object.union(item, {"actions": ["objects.get"]})],
		[object.union(item, {"actions": []})],
		[object.union(item, {"identifier": "buckets/releases0"})],
		[object.union(item, {"identifier": "buckets/rel"})],
		[object.union(item, {"locations": ["https://other.example.com/v1"]})],
		[object.union(item, {"locations": []})],
		[object.union(item, {"privileges": ["admin"]})],
		[object.remove(item, ["actions"])],
		[object.remove(item, ["identifier"])],
		[object.remove(item, ["type"])],
	] {
		refused(with_token({"authorization_details": details}), {"not_covered_by_authorization_details"})
	}
}

test_parts_of_two_items_never_add_up if {
	refused(
		with_token({"authorization_details": [
			object.union(item, {"actions": ["objects.get"]}),
			object.union(item, {"identifier": "buckets/other"}),
			object.union(item, {"locations": ["https://other.example.com/"]}),
			object.union(item, {"type": "other"}),
		]}),
		{"not_covered_by_authorization_details"},
	)
}

test_both_rights_are_named_when_both_are_missing if {
	neither := {"scopes": [], "authorization_details": []}
	refused(with_token(neither), {"insufficient_scope", "not_covered_by_authorization_details"})
}

test_requires_is_what_would_do if {
	every lacking in [{"scopes": []}, {"authorization_details": []}] {
		requires := decide(with_token(lacking)).requires
		requires == {
			"scopes": ["objects:write"],
			"authorization_details": [{"type": "s3_api", "actions": ["objects.put"], "identifier": "buckets/releases/web/app.tar"}],
		}
		allowed(with_token(requires))
	}
}

test_requires_names_no_details_where_the_catalogue_asks_for_none if {
	document := object.union(with_token({"scopes": []}), {"operation": {"authorization_details_type": null}})
	decide(document).requires == {"scopes": ["objects:write"]}
}

test_requires_is_empty_where_other_rights_would_not_help if {
	decide(with_job({"repository": "acme/other"})).requires == {}
	decide({}).requires == {}
}

test_job_not_allowed if {
	every patch in [
		{"repository": "acme/other"},
		{"repository_id": "1"},
		{"repository_id": null},
		{"provider": "gitlab"},
		{"workflow": "test.yml"},
		{"environment": "staging"},
		{"environment": null},
		{"ref_protected": false},
		{"ref_protected": null},
	] {
		refused(with_job(patch), {"job_not_allowed"})
	}
	every wrong in [{}, [], "github", true] {
		refused(put(call, "job", wrong), {"job_not_allowed"})
	}
	refused(object.remove(call, ["job"]), {"job_not_allowed"})
}

test_a_job_that_may_look_may_not_create if {
	looker := {"workflow": "test.yml", "environment": null, "ref_protected": false}
	look := object.union(
		with_item({"actions": ["objects.get"]}),
		{"operation": {"name": "objects.get", "scopes": ["objects:read"]}, "job": looker},
	)
	allowed(look)
	refused(with_job(looker), {"job_not_allowed"})
}

test_a_token_without_a_job_opens_nothing if {
	jobless := put(call, "job", null)
	refused(jobless, {"resource_not_allowed"})
	every setting in ["deny", "", null, true, ["allow"]] {
		refused_by(jobless, put(table, "tokens_without_job", setting), {"job_not_allowed"})
	}
	refused_by(jobless, object.remove(table, ["tokens_without_job"]), {"job_not_allowed"})
}

test_without_its_table_no_job_is_allowed if {
	every nothing in [null, {}, [], "allow"] {
		refused_by(call, nothing, {"job_not_allowed"})
		refused_by(call, put(table, "jobs", nothing), {"job_not_allowed"})
		refused_by(call, put(table, "rules", nothing), {"job_not_allowed"})
	}
}

with_resources(resources) := object.union(table, {"rules": {"deploy": {"resources": resources}}})

test_only_resources_that_the_rule_names_are_opened if {
	decide_by(call, with_resources("any")).allow
	decide_by(call, with_resources(["other/path", "buckets/releases"])).allow
	decide_by(call, with_resources(["buckets/releases/web/app.tar"])).allow
	every resources in [
		[],
		["buckets/release"],
		["buckets/releases/web/app.tar/x"],
		[""],
		[null],
		{"path": "buckets/releases"},
		"buckets/releases",
		"Any",
		null,
		true,
	] {
		refused_by(call, with_resources(resources), {"resource_not_allowed"})
	}
	without := object.union(table, {"rules": {"deploy": null}})
	refused_by(call, without, {"job_not_allowed"})
}

test_rights_of_two_rules_never_add_up if {
	two := object.union(table, {"rules": {
		"deploy": {"resources": ["other/path"]},
		"look": {"resources": ["buckets/releases"]},
	}})
	refused_by(call, two, {"resource_not_allowed"})
}

table_call := object.union(
	put(call, "request", object.union(request, {
		"method": "POST",
		"path": "/",
		"segments": [""],
		"body": {"TableName": "releases", "Key": {"id": {"S": "1"}}},
		"body_state": "parsed",
	})),
	{"operation": {
		"service": "dynamodb",
		"name": "items.put",
		"resource": "tables",
		"authorization_details_type": null,
	}},
)

tables := object.union(table, {"rules": {"deploy": {
	"operations": {"dynamodb": ["items.put"]},
	"resources": ["tables/releases"],
}}})

test_the_table_that_the_body_names_must_be_open if {
	decide_by(table_call, tables).allow
	every body in [
		{"TableName": "releases0"},
		{"TableName": "other"},
		{"TableName": "arn:aws:dynamodb:eu-central-1:111122223333:table/releases"},
		{"TableName": "releases/x"},
		{"TableName": ""},
		{"TableName": ["releases"]},
		{"TableName": null},
		{"tablename": "releases"},
		{},
		[],
		null,
	] {
		asked := object.union(table_call, {"request": object.union(table_call.request, {"body": null})})
		refused_by(put(asked, "request", put(asked.request, "body", body)), tables, {"resource_not_allowed"})
	}
}

test_a_table_in_the_body_opens_nothing_of_another_service if {
	other := object.union(table_call, {"operation": {"service": "s3", "name": "objects.put"}})
	refused_by(other, object.union(tables, {"rules": {"deploy": {"operations": {"s3": ["objects.put"]}}}}), {"resource_not_allowed"})
}
