package obvious

import (
	"encoding/json"
	"fmt"
	"strings"
)

const separator = "_"

// flattenObject adds the members of an object to flat, each under its path.
func (e *Encoder) flattenObject(flat map[string]interface{}, path string, members map[string]interface{}) {
	for name, value := range members {
		key := join(path, name)
		switch value := value.(type) {
		case nil:
		case map[string]interface{}:
			e.flattenObject(flat, key, value)
		case []interface{}:
			if isNameValueList(value) {
				e.foldNameValueList(flat, key, value)
				continue
			}
			columns := make(map[string][]interface{})
			transpose(columns, key, value)
			for key, column := range columns {
				flat[key] = e.oneType(column)
			}
		default:
			flat[key] = scalar(value)
		}
	}
}

// transpose adds each value below an array to the column of its path.
func transpose(columns map[string][]interface{}, key string, elements []interface{}) {
	for _, element := range elements {
		switch element := element.(type) {
		case nil:
		case map[string]interface{}:
			for name, value := range element {
				transpose(columns, join(key, name), []interface{}{value})
			}
		case []interface{}:
			transpose(columns, key, element)
		default:
			columns[key] = append(columns[key], scalar(element))
		}
	}
}

// oneType makes texts of all values of a column unless they have one type: destinations keep one for each key.
func (e *Encoder) oneType(column []interface{}) []interface{} {
	first := typeOf(column[0])
	for _, value := range column {
		if typeOf(value) != first {
			texts := make([]interface{}, len(column))
			for i, value := range column {
				texts[i] = e.text(value)
			}
			return texts
		}
	}
	return column
}

func typeOf(value interface{}) string {
	switch value.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	default:
		return "number"
	}
}

// isNameValueList tells whether the elements are objects such as {"Name":"Identity","Value":"Inbox"}, with Key for Name or with
// NewValue and OldValue for Value, and hold nothing else.
func isNameValueList(elements []interface{}) bool {
	for _, element := range elements {
		pair, ok := element.(map[string]interface{})
		if !ok {
			return false
		}
		if _, ok := pairName(pair); !ok || len(pair) < 2 {
			return false
		}
		for name := range pair {
			switch name {
			case "Name", "Key", "Value", "NewValue", "OldValue":
			default:
				return false
			}
		}
	}
	return len(elements) > 0
}

func pairName(pair map[string]interface{}) (name string, ok bool) {
	_, named := pair["Name"]
	_, keyed := pair["Key"]
	if named == keyed {
		return "", false
	}
	if named {
		name, ok = pair["Name"].(string)
	} else {
		name, ok = pair["Key"].(string)
	}
	return name, ok
}

// foldNameValueList makes keys of the names. The values are text always: they are in most such lists.
func (e *Encoder) foldNameValueList(flat map[string]interface{}, path string, elements []interface{}) {
	for _, element := range elements {
		pair := element.(map[string]interface{})
		name, _ := pairName(pair)
		key := join(path, name)
		if value := pair["Value"]; value != nil {
			flat[key] = e.text(value)
		}
		for _, side := range []string{"NewValue", "OldValue"} {
			if value := pair[side]; value != nil {
				flat[join(key, side)] = e.text(value)
			}
		}
	}
}

// text is a value as text: a string as it is, others as JSON.
func (e *Encoder) text(value interface{}) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	case map[string]interface{}, []interface{}:
		text, err := e.json.MarshalToString(value)
		if err == nil {
			return text
		}
	}
	return fmt.Sprint(value)
}

func scalar(value interface{}) interface{} {
	if n, ok := value.(json.Number); ok {
		return number(n)
	}
	return value
}

func join(path, name string) string {
	name = strings.ReplaceAll(strings.ReplaceAll(name, ".", "_"), " ", "_")
	if path == "" {
		return name
	}
	return path + separator + name
}
