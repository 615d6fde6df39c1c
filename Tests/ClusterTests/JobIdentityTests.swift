import Foundation
import Testing

@testable import Cluster

@Suite struct JobIdentityTests {
    private func identity(_ yaml: String) throws -> JobIdentity {
        let job = try JobConfiguration(yaml: yaml, path: "a")
        return JobIdentity(
            build: "b", files: ["config.json": "1"], settings: try job.commonSettings())
    }

    @Test(arguments: [
        ("limits: {cacheTokens: 64}", "setting limits.cacheTokens", "65536", "64"),
        ("ranks: 3", "setting groups[0].ranks", "2", "3"),
        ("threads: 2", "setting threads", "1", "2"),
        ("transport: tcp", "setting transport", "\"auto\"", "\"tcp\""),
        ("deadlines: {stepSeconds: 7.5}", "setting deadlines.stepSeconds", "60", "7.5"),
        ("engine: {speculates: false}", "setting engine.speculates", "none", "false"),
        ("device: eth0", "setting device", "\"\"", "\"eth0\""),
        ("name: other", "setting name", "\"local\"", "\"other\""),
    ])
    func `a setting that differs is named with both values`(
        line: String, name: String, ours: String, theirs: String
    ) throws {
        let coordinator = try identity("model: m\nranks: 2")
        let worker = try identity(
            line.hasPrefix("ranks") ? "model: m\n\(line)" : "model: m\nranks: 2\n\(line)")
        let words = try #require(coordinator.difference(from: worker))
        #expect(
            words.hasPrefix(
                "\(name) differs: the coordinator has \(ours), the worker has \(theirs)"),
            "\(words)")
    }

    @Test func `where nodes keep files, and what concerns the coordinator alone, may differ`()
        throws
    {
        let coordinator = try identity(
            "model: /a\ncontrol: {port: 7000}\nhttp: {port: 1}\napi: {keys: [secret]}")
        let worker = try identity("model: /b\ncontrol: {address: node1, port: 7000}")
        #expect(coordinator.difference(from: worker) == nil)
    }

    @Test func `no secret of the API leaves the machine`() throws {
        let settings = try identity("model: m\napi: {keys: [secret]}").settings
        #expect(!settings.contains { $0.key.contains("api") || $0.value.contains("secret") })
    }

    @Test func `a model file that differs or is missing is named, and the others counted`() {
        func identity(_ files: [String: String]) -> JobIdentity {
            JobIdentity(build: "b", files: files, settings: [:])
        }
        let ours = identity(["config.json": "1", "tokenizer.json": "2"])
        #expect(
            ours.difference(from: identity(["config.json": "1", "tokenizer.json": "3"]))
                == "model file tokenizer.json differs: the coordinator has 2, the worker has 3")
        #expect(
            ours.difference(from: identity(["tokenizer.json": "2"]))
                == "model file config.json differs: the coordinator has 1, the worker has none")
        let many = Dictionary(uniqueKeysWithValues: (0 ..< 9).map { ("shard-\($0)", "x") })
        let words = identity(many).difference(from: identity([:])) ?? ""
        #expect(words.hasSuffix("so do shard-1, shard-2, shard-3, shard-4 and 4 more"), "\(words)")
    }
}
