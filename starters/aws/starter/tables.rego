package sallyport

import data.lib.jobs
import data.lib.paths

# The catalogue cannot know the table of a call to DynamoDB, which stands in the body: it says "tables", which no rule opens but by "any".
# Here the table that the body names is looked for instead. Without a body, or with one that names no table, nothing is opened.

resource_allowed if {
	input.operation.service == "dynamodb"
	input.operation.resource == "tables"
	jobs.may(input.job, input.operation, opening_table)
}

opening_table := {
	"jobs": data.starter.jobs,
	"rules": {name: rule | some name, rule in data.starter.rules; opens_table(rule)},
}

opens_table(rule) if {
	is_array(rule.resources)
	some path in rule.resources
	paths.contains_path(path, concat("/", ["tables", table_name]))
}

# A name and nothing else: an ARN would name a table of another account.
table_name := name if {
	name := input.request.body.TableName
	is_string(name)
	regex.match(`^[A-Za-z0-9_.-]{3,255}$`, name)
}
