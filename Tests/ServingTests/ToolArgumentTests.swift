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
            "l": ["anyOf": [["type": "string"], ["type": "object"]]], "m": ["$ref": "#/$defs/O"],
            "n": ["allOf": [["$ref": "#/$defs/O"]]], "o": ["$ref": "#/$defs/W"],
            "p": ["anyOf": [["$ref": "#/$defs/W"], ["type": "null"]]], "q": ["items": [:]],
            "r": ["enum": ["x", .null]], "s": ["enum": [1, .null]], "t": ["$ref": "#/$defs/T"],
            "u": ["type": "integer", "anyOf": [["minimum": 1], ["maximum": -1]]],
        ]
        let definitions: JSONValue = [
            "O": ["properties": ["x": ["type": "integer"]]], "W": ["enum": ["x", "y"]],
            "T": ["$ref": "#/$defs/T"],
        ]
        let tool = Tool([
            "function": [
                "name": "f", "parameters": ["properties": properties, "$defs": definitions],
            ]
        ])
        #expect(
            tool.argumentKinds == [
                "a": .text, "b": .textOrNull, "c": .json, "d": .textOrNull, "e": .text, "f": .json,
                "g": .open, "h": .open, "i": .open, "j": .text, "k": .text, "l": .open, "m": .json,
                "n": .json, "o": .text, "p": .textOrNull, "q": .json, "r": .textOrNull, "s": .json,
                "t": .open, "u": .json,
            ])
        #expect(Tool(["function": ["name": "f"]]).argumentKinds.isEmpty)
        let words = Dictionary(uniqueKeysWithValues: tool.texts.map { ($0.name, $0.words) })
        #expect(words["o"] == ["x", "y"] && words["p"] == ["x", "y"] && words["r"] == ["x"])
        #expect(words["g"] == ["x"] && words["s"] == [] && words["d"] == [])
    }
}
