# METADATA
# title: Starter policy of the authorization server
# description: |
#   Says which of what a client asks for, and may have, it gets for this job. A job on a ref that is not protected gets
#   no more than reading; a job that was started by an event which strangers can cause gets nothing. The lists below are
#   for you to change. Set this folder as issuance_policy.path in the configuration of sallyport authserver.
# schemas:
#   - input: {}
package token_issuance

# How scopes and actions that only read end.
reading_scopes := [":read"]

reading_actions := [".get", ".list"]

# Events of a CI system that people without rights in the repository can cause.
untrusted_events := {"pull_request_target", "external_pull_request_event", "workflow_run"}

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
	"message": "The job was started by an event that strangers can cause.",
} if {
	event_untrusted
}

event_untrusted if input.job.event in untrusted_events

granted_scopes := [scope | some scope in input.allowed.scopes; scope_granted(scope)]

granted_details := [item | some item in input.allowed.authorization_details; item_granted(item)]

scope_granted(_) if ref_protected

scope_granted(scope) if ends_with_one(scope, reading_scopes)

item_granted(_) if ref_protected

# Every action of the item reads; an item without a list of actions is not known to.
item_granted(item) if {
	is_array(item.actions)
	every action in item.actions {
		ends_with_one(action, reading_actions)
	}
}

# A job that says nothing of its ref, or a request without a job, is on none that is protected.
ref_protected if input.job.ref_protected == true

ends_with_one(text, suffixes) if {
	some suffix in suffixes
	endswith(text, suffix)
}
