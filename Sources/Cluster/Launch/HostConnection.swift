import Foundation
import Glibc
import Synchronization
import Topology

/// The launcher's end of one host: a process of ssh that runs `apus host` there.
///
/// Safe because `state` and `sending` are locks, and everything else is set once.
final class HostConnection: @unchecked Sendable {
    struct State {
        /// The first line that looks like a version.
        var version: String?
        /// The launcher's address as the host sees it.
        var client: String?
        var failure: String?
        var ends: [Int: ProcessEnd] = [:]
        var logs: [Int: FileHandle] = [:]
        var errors = ""
        var isClosed = false
        /// Nothing comes from the host any more.
        var isGone = false
        var answers = HostAnswers()
    }

    let host: JobHost
    /// The numbers of the host's ranks.
    let ranks: Range<Int>
    private let programs: String
    /// Whether ssh is between: a host of this machine is a plain child.
    private let isRemote: Bool
    private let child: Child
    let state = Mutex(State())
    /// Two threads send lines, which must not mix.
    private let sending = Mutex(())
    private let output = Pipe()
    private let errors = Pipe()

    /// Bytes of what ssh says that are kept.
    private static let mostErrors = 8192

    /// Starts ssh, and sends the orders.
    convenience init(
        _ host: JobHost, ranks: Range<Int>, shell: SecureShell, programs: String,
        orders: HostOrders
    ) throws(ClusterError) {
        try self.init(
            host, ranks: ranks, command: Command(words: Self.words(host, shell, programs)),
            programs: programs, isRemote: true, orders: orders)
    }

    /// Starts a command that runs `apus host`, and sends the orders.
    init(
        _ host: JobHost, ranks: Range<Int>, command: Command, programs: String, isRemote: Bool,
        orders: HostOrders
    ) throws(ClusterError) {
        self.host = host
        self.ranks = ranks
        self.programs = programs
        self.isRemote = isRemote
        child = try Child(
            command,
            output: .files(
                output: output.fileHandleForWriting, errors: errors.fileHandleForWriting),
            hasLifeline: true)
        try? output.fileHandleForWriting.close()
        try? errors.fileHandleForWriting.close()
        Thread.detachNewThread { [self] in read() }
        Thread.detachNewThread { [self] in readErrors() }
        Thread.detachNewThread { [self] in
            while child.end == nil, !state.withLock({ $0.isClosed }) {
                send(.beat)
                Thread.sleep(forTimeInterval: HostFrame.beatSeconds)
            }
        }
        send(.open(orders))
    }

    /// The command line, on which nothing is secret.
    static func words(_ host: JobHost, _ shell: SecureShell, _ programs: String) -> [String] {
        below(ssh(host, shell, programs))
    }

    /// A command of ssh below a shell.
    static func below(_ words: [String]) -> [String] {
        // A shell stays above ssh. Foundation learns of a child's end by a file that closes, and
        // ssh closes it at its start; while Foundation then waits for ssh, other ends go unseen.
        ["sh", "-c", "\"$@\"; exit $?", "sh"] + words
    }

    /// ssh with what it runs on the host.
    static func ssh(_ host: JobHost, _ shell: SecureShell, _ programs: String) -> [String] {
        let program = quoted(programs + "/apus")
        return ssh(host, shell, running: "\(program) --version && exec \(program) host")
    }

    /// ssh with a command for the shell that the user has on the host.
    static func ssh(_ host: JobHost, _ shell: SecureShell, running command: String) -> [String] {
        [shell.command] + shell.options + [
            "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o",
            "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2", "--", host.destination, command,
        ]
    }

    /// A word as a POSIX shell reads it back.
    static func quoted(_ word: String) -> String {
        "'" + word.replacing("'", with: "'\\''") + "'"
    }

    // MARK: What the host says

    private func read() {
        var lines = LineReader()
        while let bytes = try? output.fileHandleForReading.readSome(), !bytes.isEmpty {
            guard let read = try? lines.read(bytes) else { break }
            for line in read { take(line) }
        }
        // Ranks whose host is gone are gone for the job; why stands in their logs.
        let end = child.wait(.seconds(5)) ?? child.end(within: Child.patience)
        state.withLock { state in
            state.isGone = true
            for rank in ranks { Self.lose(rank, "host \(host.name): ssh \(end)", &state) }
            for log in state.logs.values { try? log.close() }
            state.logs = [:]
        }
    }

    /// Ends a rank whose host is gone, with the reason in its log.
    private static func lose(_ rank: Int, _ reason: String, _ state: inout State) {
        guard let log = state.logs[rank], state.ends[rank] == nil else { return }
        try? log.write(contentsOf: Data("\(reason): \(JobHost.lastLine(state.errors))\n".utf8))
        state.ends[rank] = .exited(ExitStatus.lost.code)
    }

    private func take(_ line: Data) {
        guard let frame = HostFrame(line: line) else {
            let text = String(decoding: line, as: UTF8.self)
            state.withLock { state in
                if state.version == nil, text.hasPrefix("apus ") { state.version = text }
            }
            return
        }
        state.withLock { state in
            switch frame {
            case .ready(let client, let version):
                state.client = client
                state.version = version
            case .log(let rank, let bytes):
                try? state.logs[rank]?.write(contentsOf: bytes)
            case .exited(let rank, let end): state.ends[rank] = end
            case .failed(nil, let words): state.failure = words
            case .failed(let rank?, let words):
                try? state.logs[rank]?.write(contentsOf: Data((words + "\n").utf8))
                state.ends[rank] = .exited(1)
            case .open, .start, .signal, .beat, .survey, .clock, .listen, .measure: return
            case .surveyed, .time, .listening, .measured: state.answers.take(frame)
            }
        }
    }

    private func readErrors() {
        while let bytes = try? errors.fileHandleForReading.readSome(), !bytes.isEmpty {
            let text = String(decoding: bytes, as: UTF8.self)
            state.withLock { $0.errors = String(($0.errors + text).suffix(Self.mostErrors)) }
        }
    }

    func send(_ frame: HostFrame) {
        sending.withLock { _ in
            // What follows the end would be written to whatever has the pipe's number then.
            if !state.withLock({ $0.isClosed }) { _ = child.send(frame.line) }
        }
    }

    // MARK: What the launcher asks

    /// Whether the host is ready.
    ///
    /// - Throws: `ClusterError` in one line with the host, its ranks and the remedy.
    func isReady() throws(ClusterError) -> Bool {
        let end = child.end
        let (version, client, failure, errors) = state.withLock {
            ($0.version, $0.client, $0.failure, $0.errors)
        }
        if let version, version != "apus \(ApusVersion.current)" {
            throw .badInput(
                "\(name): \(programs)/apus is \(version), this launcher is"
                    + " apus \(ApusVersion.current): install the same build there")
        }
        if let failure { throw .badInput("\(name): \(failure)") }
        if let end { throw refusal(end, errors) }
        return client != nil
    }

    /// The host has not answered in time.
    func late(_ limit: Double) -> ClusterError {
        let words = JobHost.lastLine(state.withLock { $0.errors })
        return .deadline(
            "\(name) did not answer within \(limit) s (deadlines.joinSeconds): \(words); try"
                + " ssh \(host.destination) true")
    }

    /// The launcher's address as the host sees it: the way back that its own connection took.
    var client: String { state.withLock { $0.client } ?? "" }

    /// Starts a rank there.
    func start(_ rank: Int, control: Endpoint, log: FileHandle) -> HostedRank {
        state.withLock { state in
            try? state.logs[rank]?.close()
            state.logs[rank] = log
            // A rank that is started again has not ended.
            state.ends[rank] = nil
            if state.isGone { Self.lose(rank, "host \(host.name): ssh ended", &state) }
        }
        send(.start(rank: rank, control: control.text))
        return HostedRank(connection: self, rank: rank)
    }

    /// The host comes in by an address that this machine does not have.
    func hiddenLauncher() -> ClusterError {
        guard !client.isEmpty else {
            return .badInput(
                "\(name) does not say by which address it sees this machine (SSH_CONNECTION is not"
                    + " set there): name one of this machine's by control.address")
        }
        return .badInput(
            "\(name) sees this machine as \(client), which is an address of another machine (ssh"
                + " goes by a jump host or a translated address): name one of this machine's that"
                + " the host reaches by control.address")
    }

    /// How a rank ended.
    func end(of rank: Int) -> ProcessEnd? { state.withLock { $0.ends[rank] } }

    /// Sends a signal to a rank.
    ///
    /// A supervisor that does not tell the end of a rank that it was to kill is given up.
    func signal(_ rank: Int, _ number: Int32) {
        send(.signal(rank: rank, number: number))
        guard number == SIGKILL else { return }
        Thread.detachNewThread { [self] in
            Thread.sleep(forTimeInterval: Self.killSeconds)
            if end(of: rank) == nil { child.end(within: .zero) }
        }
    }

    /// For a host to say that a killed rank is gone.
    private static let killSeconds = 3.0

    /// Lets the supervisor end, which ends what is left there.
    func cut() {
        state.withLock { $0.isClosed = true }
        // A line that the host does not take must not keep us here.
        if sending.withLockIfAvailable({ _ in child.cutLifeline() }) == nil { child.cutLifeline() }
    }

    /// Waits for the supervisor to be gone.
    func close(within patience: Duration) {
        if child.wait(patience) == nil { child.end(within: .seconds(1)) }
    }

    /// The host with its ranks.
    var name: String { host.label(ranks: ranks) }

    /// Why the command ended before the host was ready, with the remedy.
    private func refusal(_ end: ProcessEnd, _ errors: String) -> ClusterError {
        guard isRemote else {
            return .badInput("\(name): apus host \(end): \(JobHost.lastLine(errors))")
        }
        return host.refusal(as: name, end, errors)
    }
}

/// A rank on a host, as the launcher sees it.
struct HostedRank: RunningProcess {
    let connection: HostConnection
    let rank: Int

    /// How it ended, or nil while it runs.
    var end: ProcessEnd? { connection.end(of: rank) }

    /// Sends a signal to the rank and everything it started.
    func signal(_ number: Int32) { connection.signal(rank, number) }
}
