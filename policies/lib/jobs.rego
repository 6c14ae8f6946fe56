# METADATA
# title: Jobs
# description: |
#   Which jobs may do which operations, by a table: provider, then repository, then the names of rules. Repositories
#   are looked up by key, so their number does not matter, and rules are written once for many repositories.
package lib.jobs

# METADATA
# title: Whether the table lets the job do the operation
# description: |
#   The table is {jobs: {provider: {repository: {repository_id, rules: [name]}}}, rules: {name: rule}}. The id must be
#   the one in the token, so that a name that changed hands has no rights; it is "none" only where the provider has no
#   ids. A rule has all of workflows, environments, refs ("protected" or "any") and operations ({service: names}).
#   Lists name what is allowed, an empty list allows nothing, and "any" in place of a list allows everything. A rule
#   that lacks a member allows nothing. That a ref is protected says nothing of who caused the job: pull_request_target
#   runs on the protected base. Whoever issues the tokens refuses such events, as policies/issuance does.
# scope: document
may(job, operation, table) if {
	is_string(job.provider)
	is_string(job.repository)
	is_string(operation.service)
	is_string(operation.name)
	repository := table.jobs[job.provider][job.repository]
	same_id(repository.repository_id, job.repository_id)
	is_array(repository.rules)
	some name in repository.rules
	rule_allows(table.rules[name], job, operation)
}

same_id(listed_id, id) if {
	is_string(listed_id)

	# It stands for no id, so that no id may be spelled like it.
	listed_id != "none"
	listed_id == id
}

same_id("none", null)

rule_allows(rule, job, operation) if {
	listed(rule.workflows, job.workflow)
	listed(rule.environments, job.environment)
	ref_suffices(rule.refs, job.ref_protected)
	listed(rule.operations[operation.service], operation.name)
}

listed("any", _)

listed(allowed, value) if {
	is_array(allowed)
	is_string(value)
	value in allowed
}

ref_suffices("any", _)

ref_suffices("protected", true)
