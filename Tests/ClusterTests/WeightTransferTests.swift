import Encoding
import Foundation
import Glibc
import Logging
import Synchronization
import Testing

@testable import Cluster

/// Weights between hosts, over sockets of loopback.
@Suite(.serialized) struct WeightTransferTests {
    static let token = ControlToken.random()
    static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// A file whose byte at a place follows from the place.
    static func content(_ bytes: Range<Int>, of name: String = "a.safetensors") -> [UInt8] {
        bytes.map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ name.utf8.count) }
    }

    static let files = [(name: "a.safetensors", bytes: 9 << 20), (name: "config.json", bytes: 40)]

    static func server(
        _ files: [(name: String, bytes: Int)] = files, content mark: String = "",
        token: ControlToken = token,
        read: @escaping @Sendable (String, Range<Int>) throws -> [UInt8] = { content($1, of: $0) }
    ) throws -> WeightServer {
        try WeightServer(
            WeightManifest(files, content: mark), on: "127.0.0.1", token: token, log: log,
            read: read)
    }

    static func receiver(
        _ ports: [Int], patience: Duration = .seconds(10)
    ) -> WeightReceiver {
        WeightReceiver(token: token, patience: patience, log: log) {
            ports.map { [Endpoint(address: "127.0.0.1", port: $0)] }
        }
    }

    static func pieces(_ size: Int = 1 << 20) -> [WeightPiece] {
        stride(from: 0, to: 9 << 20, by: size).map {
            WeightPiece(file: 0, bytes: $0 ..< min($0 + size, 9 << 20), held: nil)
        }
    }

    /// What was taken, by place.
    final class Taken: Sendable {
        private let pieces = Mutex<[Int: [UInt8]?]>([:])

        func take(_ piece: WeightPiece, _ bytes: [UInt8]?, _ digest: Digest) {
            pieces.withLock { $0[piece.bytes.lowerBound] = .some(bytes) }
        }

        var all: [Int: [UInt8]?] { pieces.withLock { $0 } }
        var whole: [UInt8] { all.sorted { $0.key < $1.key }.flatMap { $0.value ?? [] } }
    }

    @Test func `pieces come from several sources, and are the file`() throws {
        let counts = Mutex([0, 0])
        let servers = try (0 ..< 2).map { number in
            try Self.server { name, bytes in
                counts.withLock { $0[number] += 1 }
                usleep(2000)
                return Self.content(bytes, of: name)
            }
        }
        defer { for server in servers { server.close() } }
        let receiver = Self.receiver(servers.map(\.port))
        defer { receiver.close() }
        #expect(try receiver.manifest() == WeightManifest(Self.files, content: ""))
        let taken = Taken()
        try receiver.receive(Self.pieces(64 << 10), take: taken.take)
        #expect(taken.whole == Self.content(0 ..< 9 << 20))
        #expect(counts.withLock { $0.allSatisfy { $0 > 0 } })
    }

    @Test func `a source that comes during a transfer helps`() throws {
        let given = Mutex([0, 0])
        let servers = try (0 ..< 2).map { number in
            try Self.server { name, bytes in
                given.withLock { $0[number] += bytes.count }
                // Alone the first one would take 11 s.
                if number == 0, given.withLock({ $0[1] == 0 }) { usleep(300_000) }
                return Self.content(bytes, of: name)
            }
        }
        defer { for server in servers { server.close() } }
        let all = servers.map { [Endpoint(address: "127.0.0.1", port: $0.port)] }
        let receiver = WeightReceiver(token: Self.token, patience: .seconds(20), log: Self.log) {
            given.withLock { $0[0] } < 1 << 20 ? [all[0]] : all
        }
        defer { receiver.close() }
        let taken = Taken()
        try receiver.receive(Self.pieces(128 << 10), take: taken.take)
        #expect(taken.whole == Self.content(0 ..< 9 << 20))
        #expect(given.withLock { $0[1] > 0 })
    }

    @Test func `what is held and right does not travel, what is held and wrong does`() throws {
        let server = try Self.server()
        defer { server.close() }
        let receiver = Self.receiver([server.port])
        defer { receiver.close() }
        let right = Digest(of: Self.content(0 ..< 1000))
        let taken = Taken()
        try receiver.receive(
            [
                WeightPiece(file: 0, bytes: 0 ..< 1000, held: right),
                WeightPiece(file: 0, bytes: 1000 ..< 2000, held: right),
            ], take: taken.take)
        #expect(taken.all[0] == .some(nil))
        #expect(taken.all[1000] == .some(Self.content(1000 ..< 2000)))
    }

    @Test func `pieces of a source that dies are dealt to another one`() throws {
        let first = Mutex<WeightServer?>(nil)
        let dying = try Self.server { name, bytes in
            // Once it has given some, it is gone.
            if bytes.lowerBound >= 1 << 20 { first.withLock { $0.take() }?.close() }
            return Self.content(bytes, of: name)
        }
        first.withLock { $0 = dying }
        let other = try Self.server { name, bytes in
            usleep(20_000)
            return Self.content(bytes, of: name)
        }
        defer { other.close() }
        let receiver = Self.receiver([dying.port, other.port])
        defer { receiver.close() }
        let taken = Taken()
        try receiver.receive(Self.pieces(), take: taken.take)
        #expect(taken.whole == Self.content(0 ..< 9 << 20))
        #expect(first.withLock { $0 == nil })
    }

    @Test func `a source that comes later is found, and none is an error with the reason`() throws {
        let receiver = Self.receiver([1], patience: .milliseconds(300))
        defer { receiver.close() }
        let error = #expect(throws: ClusterError.self) {
            try receiver.receive(Self.pieces()) { _, _, _ in }
        }
        #expect("\(error!)".contains("127.0.0.1:1"), "\(error!)")
        #expect("\(error!)".contains("did not come within 0.3 s"), "\(error!)")
    }

    @Test func `who lacks the token is given nothing`() throws {
        let server = try Self.server(token: .random())
        defer { server.close() }
        let receiver = Self.receiver([server.port], patience: .milliseconds(300))
        defer { receiver.close() }
        let error = #expect(throws: ClusterError.self) { try receiver.manifest() }
        #expect("\(error!)".contains("did not prove that it has our token"), "\(error!)")
    }

    @Test func `a source with other files is left out`() throws {
        let counts = Mutex([0, 0])
        let lists = [Self.files, [(name: "a.safetensors", bytes: 64 << 10)]]
        let servers = try lists.enumerated().map { number, list in
            try Self.server(list) { name, bytes in
                counts.withLock { $0[number] += 1 }
                usleep(2000)
                return Self.content(bytes, of: name)
            }
        }
        defer { for server in servers { server.close() } }
        let receiver = Self.receiver(servers.map(\.port))
        defer { receiver.close() }
        // Whichever answers first, what both files have comes from one source.
        let pieces = (0 ..< 64).map {
            WeightPiece(file: 0, bytes: $0 << 10 ..< ($0 + 1) << 10, held: nil)
        }
        let taken = Taken()
        try receiver.receive(pieces, take: taken.take)
        #expect(taken.whole == Self.content(0 ..< 64 << 10))
        #expect(counts.withLock { $0.sorted() } == [0, 64])
    }

    @Test func `a source of equal files with other content is left out`() throws {
        let counts = Mutex([0, 0])
        let servers = try (0 ..< 2).map { number in
            try Self.server(content: "model \(number)") { name, bytes in
                counts.withLock { $0[number] += 1 }
                usleep(2000)
                return Self.content(bytes, of: name)
            }
        }
        defer { for server in servers { server.close() } }
        let receiver = Self.receiver(servers.map(\.port))
        defer { receiver.close() }
        try receiver.receive(Self.pieces(64 << 10)) { _, _, _ in }
        #expect(counts.withLock { $0.sorted() } == [0, 144])
    }

    @Test(arguments: [(7, 0 ..< 10), (0, 9 << 20 ..< (9 << 20) + 1), (1, 39 ..< 41)])
    func `bytes that no file has are refused`(file: Int, bytes: Range<Int>) throws {
        let server = try Self.server()
        defer { server.close() }
        let receiver = Self.receiver([server.port], patience: .milliseconds(500))
        defer { receiver.close() }
        let piece = WeightPiece(file: file, bytes: bytes, held: nil)
        let error = #expect(throws: ClusterError.self) {
            try receiver.receive([piece]) { _, _, _ in }
        }
        #expect("\(error!)".contains("refused: "), "\(error!)")
    }

    @Test func `an error of who takes ends the transfer`() throws {
        let server = try Self.server()
        defer { server.close() }
        let receiver = Self.receiver([server.port])
        defer { receiver.close() }
        #expect(throws: ClusterError.badInput("full")) {
            try receiver.receive(Self.pieces()) { _, _, _ in throw ClusterError.badInput("full") }
        }
        // The next transfer begins anew.
        let taken = Taken()
        try receiver.receive(Self.pieces(), take: taken.take)
        #expect(taken.whole == Self.content(0 ..< 9 << 20))
    }
}
