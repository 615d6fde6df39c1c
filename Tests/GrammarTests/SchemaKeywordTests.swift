import Encoding
import TestSupport
import Testing

@testable import Grammar

/// Schemas as common clients write them, with texts that satisfy them and texts that do not.
@Suite struct SchemaKeywordTests {
    struct Example: Sendable, CustomTestStringConvertible {
        let schema: String
        let accepted: [String]
        let rejected: [String]
        var testDescription: String { schema }

        init(_ schema: String, _ accepted: [String], _ rejected: [String]) {
            (self.schema, self.accepted, self.rejected) = (schema, accepted, rejected)
        }
    }

    static let formats: [Example] = [
        Example(
            #"{"type":"string","format":"date"}"#,
            [#""2024-02-29""#, #""1999-12-31""#, #""2000-02-29""#, #""0400-02-29""#],
            [
                #""2023-02-29""#, #""1900-02-29""#, #""2024-13-01""#, #""2024-04-31""#,
                #""0000-01-01""#,
            ]),
        Example(
            #"{"type":"string","format":"date-time"}"#,
            [#""2024-02-29T12:00:59Z""#, #""2024-01-01T00:00:00.123456+02:00""#],
            [#""2024-02-30T12:00:00Z""#, #""2024-01-01T24:00:00Z""#, #""2024-01-01T00:00:00""#]),
        Example(
            #"{"type":"string","format":"time"}"#, [#""23:59:59Z""#, #""01:02:03.5-07:30""#],
            [#""12:00""#, #""25:00:00Z""#, #""12:00:00""#]),
        // Zod 4 writes times without an offset, and says so by a pattern.
        Example(
            #"{"type":"string","format":"time","pattern":"^(?:[01]\\d|"#
                + #"2[0-3]):[0-5]\\d:[0-5]\\d$"}"#,
            [#""23:59:59""#], [#""23:59:59Z""#, #""12:00""#]),
        Example(
            #"{"type":"string","format":"duration"}"#,
            [#""P1Y2M3DT4H5M6S""#, #""PT1H""#, #""P3W""#, #""P2D""#],
            [#""P""#, #""1H""#, #""P1H""#, #""PT""#]),
        Example(
            #"{"type":"string","format":"uuid"}"#, [#""123e4567-e89b-12d3-A456-426614174000""#],
            [#""123e4567e89b12d3a456426614174000""#, #""123e4567-e89b-12d3-a456-42661417400g""#]),
        Example(
            #"{"type":"string","format":"email"}"#, [#""a.b+c@example.co.uk""#],
            [#""a@b""#, #""@x.de""#, #""a..b@x.de""#, #""a b@x.de""#]),
        // As zod 4 writes an email, and with lengths beside it.
        Example(
            #"{"type":"string","format":"email","pattern":"^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-"#
                + #"\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$"}"#,
            [#""a.b+c@example.co.uk""#],
            [#""a@b""#, #"".a@x.de""#, #""a..b@x.de""#, #""a b@x.de""#]),
        Example(
            #"{"type":"string","format":"email","minLength":5,"maxLength":30}"#,
            [#""a.b@example.com""#, #""a@b.cd""#],
            [#""a@b""#, #""abcdefghijklmnop.abcdefghij@example.com""#]),
        Example(
            #"{"type":"string","format":"uri","minLength":10,"maxLength":60}"#,
            [#""https://example.com/a""#], [#""http://""#, #""example.com/a/b/c""#]),
        Example(
            #"{"type":"string","format":"hostname","maxLength":20}"#,
            [#""a-b.example.com""#], [#""-a.com""#, #""abcdefgh.abcdefgh.abcdefgh""#]),
        Example(
            #"{"type":"string","format":"uri","minLength":1,"maxLength":2083}"#,
            [#""https://example.com:8080/a/b?q=1&r=%20#x""#, #""urn:isbn:1""#],
            [#""example.com""#, #""http://a b""#, #""""#]),
        // Limits beyond the format's own narrow nothing.
        Example(
            #"{"type":"string","format":"email","maxLength":254}"#,
            [#""firstname.lastname@department.example.com""#], [#""a@b""#]),
        Example(
            #"{"type":"string","format":"uri","maxLength":2048}"#,
            [#""https://example.com:8080/a/b?q=1""#, #""s3://bucket/key""#], [#""example.com""#]),
        Example(
            #"{"type":"string","format":"hostname","maxLength":253}"#,
            [#""build-3.rack-12.floor-2.dc.example.com""#, #""localhost""#], [#""-a""#]),
        // Smaller ones leave room for what people write.
        Example(
            #"{"type":"string","format":"email","maxLength":100}"#,
            [#""firstname.lastname@department.example.com""#], [#""a@b""#]),
        Example(
            #"{"type":"string","format":"uri","maxLength":500}"#,
            [#""https://shop.example.com/products/12345-67890""#], [#""a""#]),
        // Patterns that ask for another shape than https and a dotted name.
        Example(
            #"{"type":"string","format":"uri","pattern":"^s3://"}"#, [#""s3://bucket/a/key""#],
            [#""https://example.com""#, #""s3://""#]),
        Example(
            #"{"type":"string","format":"uri","pattern":"^urn:"}"#, [#""urn:isbn:0451450523""#],
            [#""https://example.com""#]),
        Example(
            #"{"type":"string","format":"uri-reference","pattern":"^/"}"#,
            [#""/a/b?c=1""#, #""/""#], [#""https://example.com/a""#, #""//""#, #""//a:b""#]),
        Example(
            #"{"type":"string","format":"uri-reference","maxLength":500}"#,
            [#""https://example.com/a""#], [#""//""#, #""//a:b""#]),
        Example(
            #"{"type":"string","format":"hostname","pattern":"^[a-z0-9-]+$"}"#,
            [#""localhost""#, #""node-7""#], [#""a.b""#, #""-a""#]),
        // Parts of names and addresses keep their limits where the forms have none.
        Example(
            #"{"type":"string","format":"email","pattern":"@company\\.com$"}"#,
            [#""a.b@company.com""#],
            ["\"" + String(repeating: "a", count: 65) + "@company.com\""]),
        Example(
            #"{"type":"string","format":"hostname","pattern":"^[a-z0-9-]*$"}"#, [#""localhost""#],
            ["\"" + String(repeating: "a", count: 64) + "\""]),
        Example(
            #"{"type":"string","format":"email","minLength":35,"maxLength":60}"#,
            [#""firstname.lastname@department.example.com""#], [#""a.b@example.com""#]),
        Example(
            #"{"type":"string","format":"uri","minLength":40}"#,
            [#""https://shop.example.com/products/12345-67890""#],
            [#""https://example.com/a""#]),
        // A branch that no text satisfies is no branch.
        Example(
            #"{"anyOf":[{"type":"string","format":"email","pattern":"^x$"},{"type":"null"}]}"#,
            ["null"], [#""x""#, #""x@y.com""#]),
        Example(
            #"{"type":"string","format":"uri","pattern":"\\?id=\\d+$"}"#,
            [#""https://example.com/a?id=17""#], [#""https://example.com/a?id=""#]),
        Example(
            #"{"type":"string","format":"hostname"}"#, [#""a-b.example.com""#, #""localhost""#],
            [#""-a.com""#, #""a_b""#, #""1.2.3.4""#]),
        Example(
            #"{"type":"string","format":"ipv4"}"#, [#""0.0.0.0""#, #""255.249.199.99""#],
            [#""256.1.1.1""#, #""1.2.3""#, #""01.2.3.4""#]),
        Example(
            #"{"type":"string","format":"ipv6"}"#,
            [#""::""#, #""::1""#, #""2001:db8::8a2e:370:7334""#, #""1:2:3:4:5:6:7:8""#],
            [#""1::2::3""#, #""1:2:3:4:5:6:7""#, #""12345::""#]),
        Example(
            #"{"type":"string","format":"x-mine"}"#, [#""anything""#], ["1"]),
        Example(#"{"type":"integer","format":"int64"}"#, ["12"], [#""12""#]),
    ]

    static let numbers: [Example] = [
        Example(
            #"{"type":"integer","multipleOf":7}"#, ["0", "7", "-14", "700000000000007"],
            ["1", "-13", "7.0"]),
        Example(
            #"{"type":"integer","multipleOf":5,"minimum":3,"maximum":21}"#,
            ["5", "10", "15", "20"], ["0", "3", "25", "-5"]),
        Example(
            #"{"type":"number","multipleOf":0.01,"minimum":0,"exclusiveMaximum":100}"#,
            ["0", "19.99", "7", "0.05", "99.99"], ["100", "100.00", "0.005", "-0.01", "1e1"]),
        Example(
            #"{"type":"number","multipleOf":0.25}"#, ["0.25", "-3.50", "12", "7.75"],
            ["0.30", "7.10"]),
        Example(
            #"{"allOf":[{"type":"integer","multipleOf":4},{"multipleOf":6}]}"#, ["12", "-24"],
            ["4", "6", "18"]),
        Example(#"{"minimum":5}"#, ["5", "7.5"], ["4", #""a""#]),
        Example(
            #"{"enum":[1,2,3.5,"a"],"minimum":2,"type":["number","null"]}"#, ["2", "3.5"],
            ["1", #""a""#, "null"]),
    ]

    static let arrays: [Example] = [
        Example(
            #"{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"#
                + #""minItems":2,"maxItems":2}"#,
            [#"[1,"a"]"#, #"[1, "a"]"#], ["[1]", #"["a",1]"#, #"[1,"a",2]"#, "[]"]),
        // What Zod 4 writes: a tuple is whole, also where the schema asks for no more.
        Example(
            #"{"type":"array","prefixItems":[{"type":"integer"},{"type":"null"}]}"#, ["[1,null]"],
            ["[null]", "[1]"]),
        Example(
            #"{"type":"array","prefixItems":[{"type":"integer"}],"items":{"#
                + #""type":"boolean"},"maxItems":3}"#,
            ["[1]", "[1,true]", "[1,true,false]"], ["[]", "[true]", "[1,true,true,true]"]),
        Example(
            #"{"type":"array","items":[{"type":"integer"},{"type":"integer"}],"#
                + #""additionalItems":false,"minItems":1}"#,
            ["[1]", "[1,2]"], ["[1,2,3]", "[]"]),
        Example(
            #"{"type":"array","uniqueItems":true,"items":{"enum":["a","b","c"]},"minItems":1}"#,
            [#"["c","a"]"#, #"["a","b","c"]"#, #"["b"]"#], [#"["a","a"]"#, "[]"]),
        Example(
            #"{"type":"array","uniqueItems":true,"items":{"enum":[1,2,3,4,5,6,7,8]},"maxItems":3}"#,
            ["[]", "[1,3,8]", "[7]"], ["[1,1]", "[1,2,3,4]"]),
        Example(
            #"{"type":"array","uniqueItems":true,"items":{"type":["boolean","null"]}}"#,
            ["[true,null,false]", "[]"], ["[true,true]"]),
        Example(
            #"{"type":"array","uniqueItems":true,"items":{"type":"integer","minimum":-1,"#
                + #""exclusiveMaximum":4}}"#,
            ["[3,-1,0]", "[2,1]", "[]"], ["[3,3]", "[4]", "[-2]"]),
        Example(
            #"{"type":"array","uniqueItems":true,"minItems":3,"items":{"type":"integer","#
                + #""minimum":0,"maximum":255}}"#,
            ["[0,7,255]", "[1,2,3,4]"], ["[1,2]", "[1,1,2]", "[]", "[0,255,256]"]),
        Example(
            #"{"type":"array","uniqueItems":true,"items":{"anyOf":[{"type":"integer","#
                + #""minimum":0,"maximum":30,"multipleOf":10},{"type":"null"}]}}"#,
            ["[20,null,0]", "[30]"], ["[10,10]", "[5]", "[null,null]"]),
        Example(
            #"{"type":"array","uniqueItems":true,"maxItems":1,"items":{"type":"string"}}"#,
            [#"["x"]"#], [#"["x","y"]"#]),
        Example(
            #"{"type":"array","items":{"type":"boolean"},"minItems":300,"maxItems":700}"#,
            [
                "[" + Array(repeating: "true", count: 300).joined(separator: ",") + "]",
                "[" + Array(repeating: "true", count: 700).joined(separator: ",") + "]",
            ],
            [
                "[" + Array(repeating: "true", count: 299).joined(separator: ",") + "]",
                "[" + Array(repeating: "true", count: 701).joined(separator: ",") + "]",
            ]),
    ]

    static let objects: [Example] = [
        Example(
            #"{"type":"object","propertyNames":{"enum":["a","b"]},"#
                + #""additionalProperties":{"type":"integer"}}"#,
            [#"{"a":1,"b":2}"#, "{}", #"{"b":2}"#], [#"{"c":1}"#, #"{"a":"x"}"#]),
        Example(
            #"{"type":"object","propertyNames":{"pattern":"^x[0-9]$"},"#
                + #""additionalProperties":{"type":"null"}}"#,
            [#"{"x1":null,"x2":null}"#, "{}"], [#"{"y":null}"#, #"{"x1":1}"#]),
        Example(
            #"{"type":"object","patternProperties":{"^n_":{"type":"integer"}},"#
                + #""additionalProperties":false}"#,
            [#"{"n_a":1}"#, "{}"], [#"{"a":1}"#, #"{"n_a":"1"}"#]),
        Example(
            #"{"type":"object","properties":{"id":{"type":"integer"}},"#
                + #""required":["id"],"additionalProperties":{"type":"string"}}"#,
            [#"{"id":1}"#, #"{"id":1,"x":"y"}"#],
            [#"{"id":1,"x":2}"#, #"{"x":"y"}"#, #"{"id":1,"id":"y"}"#]),
        Example(
            #"{"type":"object","required":["a"],"properties":{"b":{"type":"null"}}}"#,
            [#"{"b":null,"a":1}"#, #"{"a":[]}"#], [#"{"b":null}"#]),
        Example(
            #"{"type":"object","additionalProperties":{"type":"integer"},"#
                + #""minProperties":1,"maxProperties":2}"#,
            [#"{"a":1}"#, #"{"a":1,"b":2}"#], ["{}", #"{"a":1,"b":2,"c":3}"#]),
        Example(
            #"{"type":"object","properties":{"a":{"not":{}},"b":{"type":"null"}}}"#,
            [#"{"b":null}"#, "{}"], [#"{"a":1}"#]),
        Example(
            #"{"type":"object","properties":{"a":{"type":"integer","title":"A","#
                + #""description":"d","default":1,"examples":[1],"deprecated":true,"#
                + #""readOnly":true,"writeOnly":false,"x-order":1,"$comment":"c"},"f":{"#
                + #""type":"string","contentEncoding":"base64","#
                + #""contentMediaType":"image/png"}},"#
                + #""$schema":"http://json-schema.org/draft-07/schema#","#
                + #""$id":"https://example.com/s","additionalProperties":false}"#,
            [#"{"a":1,"f":"AA=="}"#, "{}"], [#"{"a":"1"}"#, #"{"z":1}"#]),
    ]

    static let combinations: [Example] = [
        // Pydantic's discriminated union, whose tags have defaults.
        Example(
            ##"{"$defs":{"C":{"type":"object","properties":{"k":{"const":"c","##
                + ##""default":"c","type":"string"},"n":{"type":"integer"}}},"D":{"##
                + ##""type":"object","properties":{"k":{"const":"d","default":"d","##
                + ##""type":"string"}}}},"discriminator":{"mapping":{"c":"#/$defs/C","##
                + ##""d":"#/$defs/D"},"propertyName":"k"},"oneOf":[{"$ref":"#/$defs/C"},{"##
                + ##""$ref":"#/$defs/D"}]}"##,
            [#"{"k":"c","n":1}"#, #"{"k":"d"}"#], [#"{"n":1}"#, "{}", #"{"k":"d","n":1}"#]),
        Example(
            #"{"oneOf":[{"type":"integer","maximum":3},{"type":"integer","#
                + #""exclusiveMinimum":3},{"type":"string"}]}"#,
            ["3", "4", #""x""#], ["null"]),
        Example(
            #"{"type":"string","anyOf":[{"format":"ipv4"},{"format":"ipv6"}]}"#,
            [#""1.2.3.4""#, #""::1""#], [#""x""#]),
        Example(
            #"{"type":"object","properties":{"a":{"type":"null"},"b":{"#
                + #""type":"null"}},"anyOf":[{"required":["a"]},{"required":["b"]}]}"#,
            [#"{"a":null}"#, #"{"b":null}"#, #"{"a":null,"b":null}"#], ["{}"]),
        Example(
            #"{"type":"string","pattern":"[A-Z]","allOf":[{"pattern":"[0-9]"}],"#
                + #""minLength":3,"maxLength":4}"#,
            [#""aA1""#, #""1xxZ""#], [#""A1""#, #""aaa1""#, #""AAAAA1""#]),
        // Pydantic's decimals.
        Example(
            #"{"anyOf":[{"type":"number"},{"type":"string","#
                + #""pattern":"^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$"}]}"#,
            ["1.5", #""-12.5""#, #"".5""#], [#""""#, #""-""#, #""x""#]),
        // Zod's durations.
        Example(
            #"{"type":"string","pattern":"^P(?:(\\d+W)|(?!.*W)(?=\\d|"#
                + #"T\\d)(\\d+Y)?(\\d+M)?(\\d+D)?(T(?=\\d)(\\d+H)?(\\d+M)?(\\d+([.,"#
                + #"]\\d+)?S)?)?)$"}"#,
            [#""P1W""#, #""PT5M""#, #""P1DT2.5S""#], [#""P""#, #""P1DT""#, #""P1D2W""#]),
        Example(
            ##"{"type":"object","properties":{"v":{"type":"integer"},"next":{"##
                + ##""anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["v","next"],"##
                + ##""additionalProperties":false}"##,
            [#"{"v":1,"next":{"v":2,"next":null}}"#], [#"{"v":1,"next":{"name":"w"}}"#]),
        Example(
            ##"{"allOf":[{"$ref":"#/$defs/A"},{"$ref":"#/$defs/B"}],"$defs":{"A":{"##
                + ##""type":"object","properties":{"next":{"$ref":"#/$defs/A"}}},"B":{"##
                + ##""type":"object","properties":{"next":{"$ref":"#/$defs/B"},"z":{"##
                + ##""type":"null"}}}}}"##,
            [#"{"next":{"next":{"z":null}},"z":null}"#], [#"{"next":{"z":1}}"#]),
        Example(
            ##"{"type":"object","properties":{"a b":{"type":"array","items":{"##
                + ##""type":"null"}},"c":{"$ref":"#/properties/a%20b/items"}}}"##,
            [#"{"c":null}"#], [#"{"c":1}"#]),
        Example(
            #"{"type":["string","null"],"enum":["a",null,3]}"#, [#""a""#, "null"], ["3", #""b""#]),
    ]

    @Test(arguments: formats + numbers + arrays + objects + combinations)
    func `a schema admits what satisfies it, and nothing else`(example: Example) throws {
        let grammar = try ConstraintExamples.grammar(example.schema)
        for text in example.accepted {
            #expect(ConstraintExamples.admits(text, grammar), "\(text.prefix(80)) is refused")
        }
        for text in example.rejected {
            #expect(!ConstraintExamples.admits(text, grammar), "\(text.prefix(80)) is admitted")
        }
    }

    @Test(arguments: [
        #"{"oneOf":[{"type":"integer"},{"type":"number"}]}"#,
        #"{"oneOf":[{"type":"object","properties":{"a":{}}},{"type":"object","#
            + #""properties":{"b":{}}}]}"#,
        #"{"oneOf":[{"minLength":2,"type":"string"},{"maxLength":2,"type":"string"}]}"#,
    ])
    func `oneOf whose options overlap is refused, and its error says what to write`(
        schema: String
    ) throws {
        let error = try #require(throws: GrammarError.self) {
            try ConstraintExamples.grammar(schema)
        }
        #expect(error.description.contains("anyOf allows that"))
    }

    @Test func `many fields of formats with lengths of their own fit one budget`() throws {
        let limits = [
            ("email", [50, 60, 64, 100, 120, 200, 254]), ("uri", [60, 80, 255, 500, 1000, 2048]),
            ("hostname", [40, 63, 253]),
        ].flatMap { format, lengths in lengths.map { (format, $0) } }
        let texts = ["email": "a@b.de", "uri": "https://b.de/c", "hostname": "b.de"]
        for fields in [limits, limits.reversed()] {
            let names = fields.map { "\"\($0.0)\($0.1)\"" }
            let properties = zip(names, fields).map {
                #"\#($0):{"type":"string","format":"\#($1.0)","maxLength":\#($1.1)}"#
            }
            let grammar = try ConstraintExamples.grammar(
                #"{"type":"object","properties":{\#(properties.joined(separator: ","))},"#
                    + #""required":[\#(names.joined(separator: ","))]}"#)
            let members = zip(names, fields).map { "\($0):\"\(texts[$1.0] ?? "")\"" }
            let text = "{\(members.joined(separator: ","))}"
            #expect(ConstraintExamples.admits(text, grammar))
            #expect(!ConstraintExamples.admits(text.replacing("@", with: "-"), grammar))
        }
    }

    @Test func `OpenAI's limits are reached`() throws {
        let values = (0 ..< 1000).map { "\"value number \($0)\"" }.joined(separator: ",")
        let properties = (0 ..< 5000).map {
            #""property_number_\#($0)":{"type":"string","description":"d"}"#
        }.joined(separator: ",")
        let names = (0 ..< 5000).map { "\"property_number_\($0)\"" }.joined(separator: ",")
        var nested = #"{"type":"integer"}"#
        for _ in 0 ..< 10 {
            nested = #"{"type":"object","properties":{"a":\#(nested)},"required":["a"]}"#
        }
        let many = #"{"type":"object","properties":{\#(properties)},"required":[\#(names)]}"#
        let grammar = try ConstraintExamples.grammar(#"{"enum":[\#(values)]}"#)
        #expect(ConstraintExamples.admits("\"value number 999\"", grammar))
        #expect(!ConstraintExamples.admits("\"value number 1000\"", grammar))
        #expect(GrammarState(grammar).stackCount == 1)
        _ = try ConstraintExamples.grammar(many)
        let optional = #"{"type":"object","properties":{\#(properties)}}"#
        #expect(ConstraintExamples.admits("{}", try ConstraintExamples.grammar(optional)))
        let deep = try ConstraintExamples.grammar(nested)
        let text = String(repeating: #"{"a":"#, count: 10) + "7" + String(repeating: "}", count: 10)
        #expect(ConstraintExamples.admits(text, deep))
    }
}
