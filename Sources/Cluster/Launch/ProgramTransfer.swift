import Foundation
import Synchronization

/// Asks one host for its programs, and sends what it lacks: a process of ssh runs `HostScript`.
///
/// Safe because `state` is a lock, and everything else is set once.
final class ProgramTransfer: @unchecked Sendable {
    private struct State {
        var programs: HostPrograms?
        var failure: ClusterError?
        var package: ProgramPackage?
        var sentBytes = 0
        /// Nil until the host says what it lacks, or that it lacks nothing.
        var neededBytes: Int?
        var lastProgress = ContinuousClock.now
        var errors = ""
        var isOver = false
    }

    let host: JobHost
    /// The host with its ranks, for messages.
    private let name: String
    private let sends: Bool
    private let find: @Sendable (String) throws(ClusterError) -> ProgramPackage
    private let child: Child
    private let state = Mutex(State())
    private let output = Pipe()
    private let errors = Pipe()

    /// Bytes of what ssh says that are kept.
    private static let mostErrors = 8192

    /// Starts ssh.
    ///
    /// - Parameters:
    ///   - sends: Whether the host gets what it lacks; else it is only asked.
    ///   - find: The programs for an architecture.
    init(
        to host: JobHost, ranks: Range<Int>, shell: SecureShell, sends: Bool,
        find: @escaping @Sendable (String) throws(ClusterError) -> ProgramPackage
    ) throws(ClusterError) {
        self.host = host
        name = host.label(ranks: ranks)
        self.sends = sends
        self.find = find
        let words = HostConnection.ssh(host, shell, running: HostScript.command)
        child = try Child(
            Command(words: HostConnection.below(words)),
            output: .files(
                output: output.fileHandleForWriting, errors: errors.fileHandleForWriting),
            hasLifeline: true)
        try? output.fileHandleForWriting.close()
        try? errors.fileHandleForWriting.close()
        Thread.detachNewThread { [self] in readErrors() }
        Thread.detachNewThread { [self] in converse() }
    }

    /// Whether the host has answered to the end, or will not.
    var isOver: Bool { state.withLock { $0.isOver } }

    /// Bytes that travelled, and all that shall; nil until the host says what it lacks.
    var progress: (sent: Int, needed: Int)? {
        state.withLock { state in state.neededBytes.map { (state.sentBytes, $0) } }
    }

    /// How long neither the host said a word nor a byte left for it.
    var silence: Duration { .now - state.withLock { $0.lastProgress } }

    /// What the host has.
    ///
    /// - Throws: `ClusterError` in one line with the host, its ranks and the remedy.
    func result(limit: Double) throws(ClusterError) -> HostPrograms {
        let (programs, failure, errors, isOver) = state.withLock {
            ($0.programs, $0.failure, $0.errors, $0.isOver)
        }
        if let failure { throw failure }
        if let programs { return programs }
        guard isOver else {
            throw .deadline(
                "\(name): its programs: nothing was heard for \(limit) s"
                    + " (deadlines.joinSeconds): \(JobHost.lastLine(errors)); try ssh"
                    + " \(host.destination) true")
        }
        throw host.refusal(as: name, child.end ?? .exited(1), errors)
    }

    /// Ends ssh, which lets the host keep what has arrived.
    ///
    /// Its standard input is not closed here: a thread that sends would write to whatever has the
    /// pipe's number then.
    func cut() {
        if child.end == nil { child.end(within: .seconds(1)) }
    }

    private func readErrors() {
        while let bytes = try? errors.fileHandleForReading.readSome(), !bytes.isEmpty {
            let text = String(decoding: bytes, as: UTF8.self)
            state.withLock { $0.errors = String(($0.errors + text).suffix(Self.mostErrors)) }
        }
    }

    /// Reads what the host says until ssh ends, and answers.
    private func converse() {
        var lines = LineReader()
        while let bytes = try? output.fileHandleForReading.readSome(), !bytes.isEmpty {
            guard let read = try? lines.read(bytes) else { break }
            for line in read {
                let words = String(decoding: line, as: UTF8.self).split(separator: " ")
                guard words.count > 2, words[0] == HostScript.mark || words[1] == "waits" else {
                    if words.first.map(String.init) == HostScript.mark { advanced() }
                    continue
                }
                advanced()
                do throws(ClusterError) {
                    let rest = words.dropFirst(2).joined(separator: " ")
                    try follow(String(words[1]), TaggedLog.plain(rest))
                } catch {
                    state.withLock { $0.failure = $0.failure ?? error }
                    child.cutLifeline()
                }
            }
        }
        // How ssh ended is known a moment after its output closed.
        _ = child.wait(.seconds(5)) ?? child.end(within: Child.patience)
        state.withLock { $0.isOver = true }
    }

    private func advanced(bytes: Int = 0) {
        state.withLock { state in
            state.sentBytes += bytes
            state.lastProgress = .now
        }
    }

    private func follow(_ word: String, _ rest: String) throws(ClusterError) {
        switch word {
        case "is":
            let package: ProgramPackage
            do throws(ClusterError) { package = try find(rest) } catch {
                throw .badInput("\(name): \(error)")
            }
            state.withLock { $0.package = package }
            _ = child.send(Data(package.order(sends: sends).utf8))
        case "need": try send(from: Int(rest) ?? 0)
        case "at": have(rest)
        case "bad":
            throw .badInput(
                "\(name): its programs: \(rest); or install Apus there, and name"
                    + " its folder by programs")
        default: return
        }
    }

    private func have(_ folder: String) {
        state.withLock { state in
            guard let package = state.package else { return }
            state.neededBytes = state.neededBytes ?? 0
            state.programs = HostPrograms(
                architecture: package.architecture, digest: package.digest,
                byteCount: package.byteCount, missingBytes: 0, folder: folder,
                isOwn: package.isOwn)
        }
    }

    private func send(from offset: Int) throws(ClusterError) {
        guard let package = state.withLock({ $0.package }),
            (0 ... package.byteCount).contains(offset)
        else { return }
        let missing = package.byteCount - offset
        state.withLock { $0.neededBytes = missing }
        guard sends else {
            state.withLock { state in
                state.programs = HostPrograms(
                    architecture: package.architecture, digest: package.digest,
                    byteCount: package.byteCount, missingBytes: max(1, missing), folder: "",
                    isOwn: package.isOwn)
            }
            return
        }
        do {
            // A pipe that nobody reads ends it: how ssh ended says why.
            try package.read(from: offset) { piece in
                let isTaken = child.send(piece)
                if isTaken { advanced(bytes: piece.count) }
                return isTaken
            }
        } catch {
            throw .badInput("\(name): its programs: \(error.localizedDescription)")
        }
        child.cutLifeline()
    }
}
