# METADATA
# title: Starter policy of the authorization server
# description: |
#   Says which of what a client asks for, and may have, it gets for this job. A job on a ref that is not protected gets
#   no more than reading, and of secrets not that; a job that was started by an event which strangers can cause, or by
#   one that nobody listed, gets nothing. The lists below are for you to change. Set this folder as
#   issuance_policy.path in the configuration of sallyport authserver.
# schemas:
#   - input: {}
package token_issuance

# How scopes and actions that only read end.
reading_scopes := [":read"]

reading_actions := [".get", ".list"]

# What nobody reads without having it then, as a part of the name of a scope or action.
secrets := {"secrets"}

# Events that only people with rights in the repository can cause, by the names of GitHub, GitLab and Buildkite. Left out
# for a reason are those that strangers cause and that run on the default branch, which is protected: pull_request_target,
# issue_comment, issues, discussion, discussion_comment, fork, watch, gollum, workflow_run, check_run, status,
# external_pull_request_event. A pull_request runs on a ref of its own, which is never protected, and so may only read.
trusted_events := {
	"api",
	"create",
	"delete",
	"deployment",
	"merge_group",
	"merge_request_event",
	"parent_pipeline",
	"pipeline",
	"pull_request",
	"push",
	"release",
	"repository_dispatch",
	"schedule",
	"trigger",
	"trigger_job",
	"ui",
	"web",
	"webhook",
	"webide",
	"workflow_dispatch",
}

# METADATA
# title: The decision
# description: |
#   Asked for each token request. It can only take away: scopes and authorization_details that are not in input.allowed
#   are never granted, whatever it says.
# entrypoint: true
# scope: document
default decision := {
	"allow": false,
	"reasons": [{"code": "no_decision", "message": "The policy reached no decision."}],
}

decision := {"allow": true, "scopes": granted_scopes, "authorization_details": granted_details} if count(denials) == 0

decision := {"allow": false, "reasons": [denial | some denial in denials]} if count(denials) > 0

denials contains {
	"code": "untrusted_event",
	"message": "The job was started by an event that strangers can cause, or one that is not listed.",
} if {
	not event_trusted
}

event_trusted if input.job.event in trusted_events

# Not every CI system tells what caused a job (CircleCI), and not every request is that of a job; the ref decides then.
event_trusted if is_null(object.get(input, ["job", "event"], null))

granted_scopes := [scope | some scope in input.allowed.scopes; scope_granted(scope)]

granted_details := [item | some item in input.allowed.authorization_details; item_granted(item)]

scope_granted(_) if ref_protected

scope_granted(scope) if reads(scope, reading_scopes)

item_granted(_) if ref_protected

# Every action of the item reads; an item without a list of actions, or with an empty one, is not known to.
item_granted(item) if {
	is_array(item.actions)
	count(item.actions) > 0
	every action in item.actions {
		reads(action, reading_actions)
	}
}

# A job that says nothing of its ref, or a request without a job, is on none that is protected.
ref_protected if input.job.ref_protected == true

reads(text, suffixes) if {
	is_string(text)
	some suffix in suffixes
	endswith(text, suffix)
	{part | some part in split(replace(text, ":", "."), ".")} & secrets == set()
}
