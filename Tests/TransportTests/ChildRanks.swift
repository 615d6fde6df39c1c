import Foundation
import Testing
import Topology

@testable import Transport

/// Ranks as processes of their own: this test program again, in a role.
struct ChildRanks {
    /// The variable that names the role; a child is who has it.
    static let roleVariable = "APUS_TEST_ROLE"

    let processes: [Process]
    let outputs: [URL]

    /// Starts `rankCount` children that meet at a rendezvous which `server` serves.
    init(
        role: String, rankCount: Int, rendezvous: String, extra: [String: String] = [:],
        prefix: (Int) -> [String] = { _ in [] }
    ) throws {
        var processes: [Process] = []
        var outputs: [URL] = []
        for index in 0 ..< rankCount {
            let process = Process()
            let program = try FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/self/exe")
            let command =
                prefix(index) + [
                    program, "--testing-library", "swift-testing", "--filter", "plays its role",
                ]
            process.executableURL = URL(fileURLWithPath: command[0])
            process.arguments = Array(command.dropFirst())
            process.environment = ProcessInfo.processInfo.environment.merging([
                Self.roleVariable: role, "APUS_RANK": "\(index)",
                "APUS_RANK_COUNT": "\(rankCount)", "APUS_RENDEZVOUS": rendezvous,
                "APUS_TOKEN": "secret",
            ]) { $1 }.merging(extra) { $1 }
            let output = FileManager.default.temporaryDirectory.appendingPathComponent(
                "apus-\(UUID().uuidString)")
            _ = FileManager.default.createFile(atPath: output.path, contents: nil)
            process.standardOutput = try FileHandle(forWritingTo: output)
            process.standardError = process.standardOutput
            try process.run()
            processes.append(process)
            outputs.append(output)
        }
        self.processes = processes
        self.outputs = outputs
    }

    /// Waits until a child has printed a line with `text`; false after `limit`.
    func waits(for text: String, rank: Int, limit: Duration = .seconds(20)) -> Bool {
        let deadline = Deadline(limit, "child")
        while !deadline.hasPassed {
            if output(of: rank).contains(text) { return true }
            usleep(5_000)
        }
        return false
    }

    func output(of rank: Int) -> String {
        let text = (try? String(contentsOf: outputs[rank], encoding: .utf8)) ?? ""
        let process = processes[rank]
        if process.isRunning || process.terminationStatus == 0 { return text }
        return text + "\nended by \(process.terminationReason) \(process.terminationStatus)"
    }

    func send(_ signal: Int32, to rank: Int) { kill(processes[rank].processIdentifier, signal) }

    /// Ends what still runs, and removes what was written.
    func end() {
        for process in processes {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            process.waitUntilExit()
        }
        for output in outputs { try? FileManager.default.removeItem(at: output) }
    }
}

/// What a child says, on a line of its own, at once.
func report(_ text: String) {
    print(text)
    fflush(nil)
}

@Suite struct ChildRoles {
    static let role = ProcessInfo.processInfo.environment[ChildRanks.roleVariable]

    /// Not a test of its own: the body of every child process.
    @Test(.enabled(if: ChildRoles.role != nil))
    func `a child plays its role`() throws {
        do {
            try play(Self.role ?? "")
            report("ROLE DONE")
        } catch let error as TransportError {
            report("ROLE FAILED: \(error)")
        }
    }

    private func play(_ role: String) throws {
        let launch = try #require(
            try LaunchEnvironment.detect(in: ProcessInfo.processInfo.environment))
        let exchange = try TCPExchange.connect(
            to: launch.rendezvous, rank: launch.rank, rankCount: launch.rankCount,
            token: launch.token, deadline: Deadline(.seconds(20), "join"))
        var configuration = FabricConfiguration(
            rank: launch.rank, rankCount: launch.rankCount)
        let environment = ProcessInfo.processInfo.environment
        let silence = environment["APUS_TEST_SILENCE"].flatMap { Int($0) } ?? 1
        configuration.silenceLimit = .seconds(silence)
        if let name = environment["APUS_TEST_TRANSPORT"] {
            configuration.transport = try #require(
                FabricConfiguration.Transport(rawValue: name))
        }
        configuration.device = environment["APUS_TEST_DEVICE"]
        if let nodes = environment["APUS_TEST_NODES"] {
            configuration.nodes = nodes.split(separator: ",").compactMap { Int($0) }
        }
        let fabric = try makeFabric(configuration, exchange: exchange)
        defer { fabric.close() }
        switch role {
        case "ring": try ring(fabric)
        case "exchange": try exchangeBlocks(fabric)
        default: Issue.record("no role \(role)")
        }
    }

    /// Passes a word around until somebody is lost.
    private func ring(_ fabric: any Fabric) throws {
        let window = try fabric.makeWindow(
            name: "ring", byteCount: 1 << 20, signalCount: 1, stagingByteCount: 1 << 20,
            deadline: Deadline(.seconds(20), "set-up"))
        let count = fabric.rankCount
        let next = Rank(rawValue: (fabric.rank.rawValue + 1) % count)
        let previous = Rank(rawValue: (fabric.rank.rawValue + count - 1) % count)
        report("RING RUNS")
        for round in UInt64(1)... {
            try window.put(0 ..< 65_536, to: next, at: 0, signal: 0, value: round)
            try window.wait(
                signal: 0, atLeast: round, from: previous,
                deadline: Deadline(.seconds(10), "ring"))
            try window.flush(deadline: Deadline(.seconds(10), "ring"))
        }
    }

    /// Every rank puts blocks of many sizes to every rank, and checks every byte.
    private func exchangeBlocks(_ fabric: any Fabric) throws {
        let sizes = [8, 7168, 65_536, 1 << 20]
        let slot = 1 << 20
        let window = try fabric.makeWindow(
            name: "blocks", byteCount: slot * fabric.rankCount, signalCount: fabric.rankCount,
            stagingByteCount: slot, deadline: Deadline(.seconds(20), "set-up"))
        for (round, size) in (sizes + sizes).enumerated() {
            let deadline = Deadline(.seconds(20), "exchange", layer: round)
            window.withStaging(0 ..< size) { bytes in
                for offset in 0 ..< size {
                    bytes.storeBytes(
                        of: pattern(fabric.rank, round, offset), toByteOffset: offset,
                        as: UInt8.self)
                }
            }
            for peer in fabric.ranks {
                try window.put(
                    0 ..< size, to: peer, at: slot * fabric.rank.rawValue,
                    signal: fabric.rank.rawValue, value: UInt64(round + 1))
            }
            for peer in fabric.ranks {
                try window.wait(
                    signal: peer.rawValue, atLeast: UInt64(round + 1), from: peer,
                    deadline: deadline)
                let start = slot * peer.rawValue
                let wrong = window.withBytes(start ..< start + size) { bytes in
                    (0 ..< size).count { offset in
                        unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
                            != pattern(peer, round, offset)
                    }
                }
                if wrong > 0 { report("WRONG \(wrong) bytes from \(peer) in round \(round)") }
            }
            try window.flush(deadline: deadline)
            try fabric.barrier(deadline: deadline)
        }
        for peer in fabric.ranks {
            report("PATH \(fabric.rank) to \(peer): \(fabric.path(to: peer))")
        }
        // Who has left is reached by no path.
        try fabric.barrier(deadline: Deadline(.seconds(20), "leave"))
    }

    private func pattern(_ rank: Rank, _ round: Int, _ offset: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: rank.rawValue &* 31 &+ round &* 7 &+ offset &* 13 &+ offset >> 8)
    }
}

/// A fresh directory under the system's temporary one.
func temporaryDirectory() -> String {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent(
        "apus-\(UUID().uuidString)")
    try? FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    return url.path
}

func removeDirectory(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

/// Starts children that meet, runs `body`, and ends them.
func withChildren(
    _ role: String, rankCount: Int, extra: [String: String] = [:],
    _ body: (ChildRanks) throws -> Void
) throws {
    let server = try TCPRendezvous(
        address: "127.0.0.1:0", rankCount: rankCount, token: "secret")
    let children = try ChildRanks(
        role: role, rankCount: rankCount, rendezvous: server.address, extra: extra)
    defer {
        children.end()
        server.close()
    }
    try body(children)
}
