import Encoding
import Foundation
import Testing

@testable import Cluster

/// Bytes of the weights' connections, hostile ones among them.
@Suite struct WeightFrameTests {
    @Test func `a request is read as it was written`() throws {
        let held = Digest(of: [1, 2, 3])
        for request in [
            WeightRequest(file: 3, bytes: 5_000_000_000 ..< 5_000_000_000 + (4 << 20)),
            WeightRequest(file: 0, bytes: 0 ..< 1, held: held), .manifest,
        ] {
            #expect(request.encoded().count == WeightRequest.byteCount)
            #expect(WeightRequest(request.encoded()) == request)
        }
    }

    /// Golden: the layout of docs/reference/formats.md, written out by hand.
    @Test func `a request has the layout that is written down`() {
        let request = WeightRequest(file: 1, bytes: 0x1_0203 ..< 0x1_0203 + 0x20)
        let head: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 1, 2, 3]
        #expect(request.encoded() == head + [UInt8](repeating: 0, count: 32))
    }

    @Test func `a request beyond the limits is none`() {
        let long = WeightRequest(file: 0, bytes: 0 ..< (4 << 20) + 1).encoded()
        let far = WeightRequest(file: 0, bytes: 1 << 61 ..< 1 << 61 + 1).encoded()
        #expect(WeightRequest(long) == nil)
        #expect(WeightRequest(far) == nil)
        #expect(WeightRequest([UInt8](repeating: 0xff, count: WeightRequest.byteCount)) == nil)
        #expect(WeightRequest(Array(long.dropLast())) == nil)
    }

    @Test func `an answer beyond the limits is none`() {
        let good = WeightAnswer(.bytes, count: 4 << 20, digest: Digest(of: []))
        #expect(WeightAnswer(good.encoded()) == good)
        var bytes = good.encoded()
        bytes[3] = 9
        #expect(WeightAnswer(bytes) == nil)
        let long = WeightAnswer(.bytes, count: (4 << 20) + 1, digest: Digest(of: []))
        #expect(WeightAnswer(long.encoded()) == nil)
    }

    @Test(arguments: [
        "../config.json", "/etc/passwd", ".apus-part", "a/b.safetensors", "", "a\u{1b}[2J",
        "a\u{0}.json", String(repeating: "a", count: 256),
    ])
    func `a name that leaves the folder, or hides in it, is refused`(name: String) throws {
        let list = try JSONSerialization.data(
            withJSONObject: ["content": "", "files": [["name": name, "bytes": 1]]])
        #expect(throws: ClusterError.self) { try WeightManifest(decoding: Array(list)) }
        #expect(WeightManifest([(name: name, bytes: 1)], content: "").files.isEmpty)
    }

    @Test(arguments: [
        #"{"content":"","files":[{"name":"a.json","bytes":-1}]}"#,
        #"{"content":"","files":[{"name":"a.json","bytes":9223372036854775807}]}"#,
        #"{"content":"","files":[{"name":"a.json","bytes":1},{"name":"a.json","bytes":1}]}"#,
        #"{"content":"","files":{}}"#, #"{"files":[]}"#,
        #"{"content":"\#(String(repeating: "a", count: 65))","files":[]}"#, "", "[",
    ])
    func `a list that is none is refused`(text: String) {
        #expect(throws: ClusterError.self) { try WeightManifest(decoding: Array(text.utf8)) }
    }

    @Test func `a proof is of one session, one request and one answer`() {
        let answer = WeightAnswer(.bytes, count: 3, digest: Digest(of: [1, 2, 3]))
        let other = WeightAnswer(.bytes, count: 3, digest: Digest(of: [1, 2, 4]))
        let request = WeightRequest(file: 0, bytes: 0 ..< 3)
        let next = WeightRequest(file: 0, bytes: 3 ..< 6)
        let statements = [
            WeightProtocol.statement([1], request, answer),
            WeightProtocol.statement([2], request, answer),
            WeightProtocol.statement([1], next, answer),
            WeightProtocol.statement([1], request, other),
        ]
        #expect(Set(statements).count == statements.count)
    }

    @Test func `changed bytes, another session and a forged digest are refused`() {
        let token = ControlToken.random()
        let request = WeightRequest(file: 0, bytes: 0 ..< 3)
        let body: [UInt8] = [1, 2, 3]
        var answer = WeightAnswer(.bytes, count: 3, digest: Digest(of: body))
        answer.proof = token.proof(of: WeightProtocol.statement([1], request, answer))
        func isRight(_ body: [UInt8], _ answer: WeightAnswer, session: [UInt8] = [1]) -> Bool {
            WeightProtocol.isRight(body, answer, to: request, session, token)
        }
        #expect(isRight(body, answer))
        #expect(!isRight([1, 2, 4], answer))
        #expect(!isRight(body, answer, session: [2]))
        // Who changes the bytes and their digest has no proof of it.
        var forged = answer
        forged.digest = Digest(of: [1, 2, 4])
        #expect(!isRight([1, 2, 4], forged))
        let next = WeightRequest(file: 0, bytes: 3 ..< 6)
        #expect(!WeightProtocol.isRight(body, answer, to: next, [1], token))
        #expect(!WeightProtocol.isRight(body, answer, to: request, [1], .random()))
    }
}
