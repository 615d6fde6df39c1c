import Foundation
import Glibc
import Synchronization
import Topology

/// Runs the ranks of one host for a launcher on another machine: `apus host`, which ssh starts.
///
/// Orders come over standard input, the job's secret among them; what ranks write goes to standard
/// output. Nothing stays: when standard input closes, or is silent for `HostFrame.silence`, every
/// rank is ended and this process with them.
///
/// Safe because `children`, `output`, `ending` and `lastWord` are locks, and only the thread of
/// `run` changes the rest.
public final class HostSupervisor: @unchecked Sendable {
    private let children = Mutex<[Int: Child]>([:])
    private let output = Mutex(())
    private let ending = Mutex(())
    private let lastWord = Mutex(ContinuousClock.now)
    private let folder: URL
    private let instruments: HostInstruments
    private var orders: HostOrders?
    /// Log readers that have not seen the end of their pipe yet.
    private let readers = DispatchGroup()

    /// For ranks that were asked to end, when the launcher is gone.
    private static let patience = Duration.seconds(2)

    /// A supervisor with a private folder for the job file.
    ///
    /// - Parameter instruments: What surveys of this host need.
    package init(instruments: HostInstruments) throws(ClusterError) {
        self.instruments = instruments
        // A name that nobody can take first.
        folder = FileManager.default.temporaryDirectory.appending(path: "apus-host-\(UUID())")
        do {
            try FileManager.default.createDirectory(
                at: folder, withIntermediateDirectories: false,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw .badInput(
                "\(folder.path(percentEncoded: false)): \(error.localizedDescription); TMPDIR names"
                    + " another folder")
        }
    }

    /// Follows orders until the launcher is gone.
    ///
    /// - Parameter stop: Raised when this process itself is asked to end.
    public func run(stop: StopFlag) {
        signal(SIGPIPE, SIG_IGN)
        Thread.detachNewThread { [self] in
            while !stop.isRaised, .now - lastWord.withLock({ $0 }) < HostFrame.silence {
                stop.wait(HostFrame.beatSeconds)
            }
            end()
            // The main thread may hold standard input, for which an orderly exit waits.
            Glibc._exit(0)
        }
        // By a thread of its own: a folder of the network may not answer.
        Thread.detachNewThread {
            while true {
                HostPrograms.noteUse(of: JobIdentity.ownFolder)
                Thread.sleep(forTimeInterval: HostPrograms.useSeconds)
            }
        }
        while let line = readLine() {
            lastWord.withLock { $0 = .now }
            if let frame = HostFrame(line: Data(line.utf8)) { follow(frame) }
        }
        end()
    }

    private func follow(_ frame: HostFrame) {
        switch frame {
        case .open(let orders): open(orders)
        case .start(let rank, let control): start(rank, control)
        case .signal(let rank, let number):
            children.withLock { $0[rank] }?.signal(number)
        case .survey, .clock, .listen, .measure: answer(frame)
        case .beat, .ready, .log, .exited, .failed, .surveyed, .time, .listening, .measured: return
        }
    }

    /// Answers a question about this host, from a thread of its own where that takes time.
    private func answer(_ frame: HostFrame) {
        let instruments = instruments
        switch frame {
        case .clock: say(.time(seconds: Date().timeIntervalSince1970))
        case .survey(let isWhole):
            guard let orders else { return }
            Thread.detachNewThread { [self] in
                do throws(ClusterError) {
                    let job = try JobConfiguration(yaml: orders.job, path: "job.yaml")
                    let survey = HostSurvey(
                        of: job, part: .ranks, isWhole: isWhole, instruments: instruments)
                    say(.surveyed(survey))
                } catch {
                    say(.failed(rank: nil, words: "\(error)"))
                }
            }
        case .listen(let token):
            do {
                say(.listening(port: try instruments.listen(token), failure: ""))
            } catch {
                say(.listening(port: 0, failure: "\(error)"))
            }
        case .measure(let order):
            Thread.detachNewThread { [self] in say(.measured(instruments.measure(order))) }
        default: return
        }
    }

    private func open(_ orders: HostOrders) {
        self.orders = orders
        let start = URL(filePath: orders.directory).resolvingSymlinksInPath()
        let isFolder = (try? start.resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory
        guard orders.directory.isEmpty || isFolder == true else {
            say(.failed(rank: nil, words: "directory \(orders.directory): there is no such folder"))
            return
        }
        do {
            try Data(orders.job.utf8).write(to: job)
        } catch {
            say(.failed(rank: nil, words: "the job file: \(error.localizedDescription)"))
            return
        }
        let client = ProcessInfo.processInfo.environment["SSH_CONNECTION"] ?? ""
        let address = client.split(separator: " ").first.map(String.init) ?? ""
        say(.ready(client: address, version: "apus \(ApusVersion.current)"))
    }

    private var job: URL { folder.appending(path: "job.yaml") }

    private func start(_ rank: Int, _ control: String) {
        guard let orders else { return }
        let program = JobIdentity.ownFolder.appending(path: "apus-worker")
        // `env` is what starts a child, and it knows the way into a folder.
        let place = orders.directory.isEmpty ? [] : ["-C", orders.directory]
        let own = ["APUS_TOKEN": orders.token, "APUS_NODE_NAME": orders.host]
        let command = Command(
            words: place + [
                program.path(percentEncoded: false), "--job", job.path(percentEncoded: false),
                "--rank", "\(rank)", "--coordinator", control, "--lifeline",
            ], environment: orders.environment.merging(own) { $1 })
        let pipe = Pipe()
        do throws(ClusterError) {
            let child = try Child(
                command, output: .file(pipe.fileHandleForWriting), hasLifeline: true)
            children.withLock { $0[rank] = child }
            try? pipe.fileHandleForWriting.close()
            readers.enter()
            Thread.detachNewThread { [self] in forward(pipe.fileHandleForReading, rank, child) }
        } catch {
            say(.failed(rank: rank, words: "\(error)"))
        }
    }

    /// Sends what a rank writes, and how it ended after that.
    private func forward(_ log: FileHandle, _ rank: Int, _ child: Child) {
        while let bytes = try? log.readSome(), !bytes.isEmpty {
            say(.log(rank: rank, bytes: bytes))
        }
        if let end = child.wait(nil) { say(.exited(rank: rank, end: end)) }
        readers.leave()
    }

    private func say(_ frame: HostFrame) {
        output.withLock { _ in
            // A launcher that is gone is noticed at standard input.
            try? FileHandle.standardOutput.write(contentsOf: frame.line)
        }
    }

    /// Ends every rank, all at once, and removes the folder; the second caller waits for the first.
    private func end() {
        ending.withLock { _ in
            let running = children.withLock { children in
                defer { children = [:] }
                return children.values
            }
            for child in running { child.signal(SIGTERM) }
            let limit = ContinuousClock.now + Self.patience
            for child in running { child.end(within: limit - .now) }
            _ = readers.wait(timeout: .now() + 1)
            try? FileManager.default.removeItem(at: folder)
        }
    }
}

extension FileHandle {
    /// What is there to read, as soon as something is; empty at the end.
    func readSome() throws -> Data {
        // `read(upToCount:)` waits for all of its bytes; this returns with the first.
        availableData
    }
}
