# METADATA
# title: Rich authorization requests
# description: |
#   What one item of authorization_details covers (RFC 9396 §2, §2.2), for types whose items have the members type,
#   actions, identifier and locations. Items are alternatives: one whole item must cover the call, parts of two items
#   never add up.
package lib.authorization_details

import data.lib.paths

# METADATA
# title: Whether one item covers a call
# description: |
#   The call is {type, action, identifier, origin, url, resource}. A missing or empty list of actions and a missing
#   identifier grant nothing. One of the locations must contain the URL of the call or be the resource that the token is
#   for; they may be left out, then the audience of the token alone says where. A member that is not known here may be
#   a restriction, so an item that has one grants nothing.
# scope: document
covers(item, call) if {
	# Two that are null would be the same.
	is_string(call.type)
	is_string(call.action)
	item.type == call.type
	is_array(item.actions)
	call.action in item.actions
	paths.contains_path(item.identifier, call.identifier)
	object.remove(item, ["type", "actions", "identifier", "locations"]) == {}
	located(item, call)
}

located(item, call) if {
	is_array(item.locations)
	some location in item.locations
	contains_call(location, call)
}

located(item, _) if not has_locations(item)

contains_call(location, call) if paths.contains_url(call.origin, location, call.url)

contains_call(location, call) if paths.same(location, call.resource)

# An item whose locations are null or false has them all the same: they hold nothing.
has_locations(item) if "locations" in object.keys(item)
