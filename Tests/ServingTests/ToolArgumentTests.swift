import Encoding
import Language
import Testing

@testable import Serving

/// What a tool's schema says of values that are written without quotes.
@Suite struct ToolArgumentTests {
    @Test func `a schema tells texts from JSON`() {
        let properties: JSONValue = [
            "a": ["type": "string"], "b": ["type": ["string", "null"]], "c": ["type": "integer"],
            "d": ["anyOf": [["type": "string"], ["type": "null"]]], "e": ["enum": ["x", "y"]],
            "f": ["anyOf": [["type": "integer"], ["type": "null"]]], "g": ["enum": ["x", 1]],
            "h": ["$ref": "#/$defs/X"], "i": ["type": ["string", "integer"]],
            "j": ["oneOf": [["type": "string"], ["enum": ["x"]]]], "k": ["const": "x"],
            "l": ["anyOf": [["type": "string"], ["type": "object"]]],
        ]
        let tool = Tool(["function": ["name": "f", "parameters": ["properties": properties]]])
        #expect(
            tool.argumentKinds == [
                "a": .text, "b": .textOrNull, "c": .json, "d": .textOrNull, "e": .text, "f": .json,
                "g": .open, "h": .open, "i": .open, "j": .text, "k": .text, "l": .open,
            ])
        #expect(Tool(["function": ["name": "f"]]).argumentKinds.isEmpty)
    }
}
