import Foundation
import Testing

@testable import Planner

/// Shapes from `config.json`.
@Suite struct ModelShapeTests {
    static let golden = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Golden/deepseek-v3").standardized.path(percentEncoded: false)

    @Test func `the published config of DeepSeek-V3 gives the shape that its name gives`() throws {
        var shape = try ModelShape(named: Self.golden)
        shape.name = "deepseek-v3"
        #expect(shape == .deepSeekV3)
        #expect(try ModelShape(named: "DeepSeek-V3") == .deepSeekV3)
    }

    @Test func `a folder that is not there is named, with the models known by name`() throws {
        let error = #expect(throws: PlanError.self) { try ModelShape(named: "/no/such") }
        let text = "\(try #require(error))"
        #expect(text.hasPrefix("/no/such/config.json: ") && text.contains("deepseek-v3"))
    }

    @Test(arguments: [
        ("\"hidden_size\": 0", "hidden_size", "0 is not 1 to"),
        ("\"hidden_size\": \"wide\"", "the text", "hidden_size is not of type"),
        ("\"topk_group\": 9", "topk_group", "9 is not 1 to"),
        ("\"hidden\": 1", "the text", "hidden_size is missing"),
    ])
    func `a bad config is refused by key`(pair: String, key: String, words: String) throws {
        var text = try String(contentsOfFile: Self.golden + "/config.json", encoding: .utf8)
        let name = pair.split(separator: "\"")[0]
        let target = name == "hidden" ? "hidden_size" : String(name)
        text = text.replacing(try Regex("\"\(target)\": *[^,\\n}]+"), with: pair)
        let file = FileManager.default.temporaryDirectory
            .appending(path: "\(UUID().uuidString).json")
        try Data(text.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let error = #expect(throws: PlanError.self) {
            try ModelShape(named: file.path(percentEncoded: false))
        }
        let line = "\(try #require(error))"
        #expect(line.contains(key) && line.contains(words), "\(line)")
    }
}
