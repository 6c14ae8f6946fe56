package sallyport

import data.lib.jobs
import data.lib.paths

# A rule of the table names the resources that it opens, as paths: "resources": ["namespaces/web"], or "any". The rule that lets a job
# do an operation and the rule that opens the resource must be one and the same: rights of two rules never add up.

denials contains {
	"code": "resource_not_allowed",
	"message": "No rule of this job opens this resource for this operation.",
} if {
	operation_known
	job_allowed
	not resource_allowed
}

resource_allowed if jobs.may(input.job, input.operation, opening)

# The table with those rules only that open the resource.
opening := {
	"jobs": data.starter.jobs,
	"rules": {name: rule | some name, rule in data.starter.rules; opens(rule)},
}

opens(rule) if rule.resources == "any"

opens(rule) if {
	is_array(rule.resources)
	some path in rule.resources
	paths.contains_path(path, input.operation.resource)
}
