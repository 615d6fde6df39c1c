import Checkpoints
import Cluster
import Encoding
import Foundation
import Glibc
import Logging
import Transport

/// The model's files on this rank's host: given to hosts that have none, or received from those
/// that have them.
///
/// Only for a job whose `weightFolder` allows it. A host receives where the model's folder holds no
/// `config.json`; a folder that is there is used as it is, right or wrong.
final class HostWeights {
    /// The job, with the folder from which this rank reads.
    let configuration: JobConfiguration
    /// What the rank does not have comes from it; nil where the host has the model.
    private(set) var source: ReceivedWeights?
    /// Where other hosts find the model's files; nil where they find none here.
    private(set) var addresses: [Endpoint]?
    private var server: WeightServer?

    /// Opens the model's files, or receives their names, headers and small ones.
    ///
    /// - Throws: Why files cannot be given or do not come.
    init(_ start: RankStart, log: Logger) throws {
        guard var serving = start.configuration.serving, !serving.weightFolder.isEmpty else {
            configuration = start.configuration
            return
        }
        guard !FileManager.default.fileExists(atPath: serving.model + "/config.json") else {
            configuration = start.configuration
            try share(serving.model, start, log)
            return
        }
        let source = try ReceivedWeights(start, serving, log: log)
        serving.model = try source.open()
        var job = start.configuration
        job.serving = serving
        configuration = job
        self.source = source
        log.info("the model is read from \(serving.model); what this rank holds of it is received")
    }

    /// Ends every connection.
    func close() {
        server?.close()
        source?.close()
    }

    private func share(_ model: String, _ start: RankStart, _ log: Logger) throws {
        let folder: SharedFolder
        do {
            folder = try SharedFolder(directory: model)
        } catch {
            // What is wrong with it, loading says.
            log.warning("the model's files are not given to other hosts: \(error)")
            return
        }
        let job = start.configuration
        // Ranks of one machine reach each other there alone.
        let isLocal =
            start.endpoint.isLoopback || (start.endpoint.isPath && job.lab.isEmpty)
        let server = try WeightServer(
            WeightManifest(folder.files.map { ($0.name, $0.byteCount) }, content: folder.content),
            on: isLocal ? "127.0.0.1" : "0.0.0.0", token: start.token, log: log
        ) { try folder.read($0, $1) }
        self.server = server
        let devices = job.device.split(separator: ",").map(String.init)
        let own = NetworkAddress.all().filter { address in
            isLocal
                ? address.address.hasPrefix("127.")
                : !address.address.hasPrefix("127.")
                    && (devices.isEmpty || devices.contains(address.device))
        }
        addresses = own.map { Endpoint(address: $0.address, port: server.port) }
    }
}

/// Weights that come from other hosts of the job into a folder of this one.
final class ReceivedWeights: PieceSource {
    let waitLimit: Duration
    private let receiver: WeightReceiver
    private let cache: WeightCache
    private let manifest: WeightManifest
    private let numbers: [String: Int]
    private let name: String
    private let log: Logger
    private let progress = ReceivedBytes()

    /// Finds hosts that have the model.
    ///
    /// - Throws: `ClusterError.deadline` where none is found within `joinSeconds`.
    init(_ start: RankStart, _ serving: ServingWork, log: Logger) throws {
        let deadlines = start.configuration.deadlines
        waitLimit = .seconds(deadlines.loadSeconds)
        self.log = log
        name = URL(filePath: serving.model).lastPathComponent
        cache = try WeightCache(
            folder: serving.weightFolder, byteLimit: serving.weightBytes, waitLimit: waitLimit)
        let (endpoint, token) = (start.endpoint, start.token)
        let limit = Duration.seconds(deadlines.joinSeconds)
        receiver = WeightReceiver(token: token, patience: limit, log: log) {
            try ControlLink.weightSources(of: endpoint, token: token, pid: getpid(), limit: limit)
        }
        manifest = try receiver.manifest()
        numbers = Dictionary(
            manifest.files.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { $1 })
    }

    /// The folder, with names, headers and small files of the model.
    func open() throws -> String {
        let directory = try cache.open(
            name, files: manifest.files.map { RemoteFile(name: $0.name, byteCount: $0.bytes) },
            content: manifest.content, from: self)
        progress.directory = directory
        return directory
    }

    /// Ends every connection.
    func close() { receiver.close() }

    /// Told how far a large transfer is: bytes of all, and the time since it began.
    func onProgress(_ report: @escaping @Sendable (LoadProgress) -> Void) {
        progress.report = report
    }

    func makeRoom(for byteCount: Int) throws {
        try cache.makeRoom(for: byteCount, keeping: progress.directory)
    }

    func receive(
        _ pieces: [CheckpointPiece],
        take: @escaping @Sendable (CheckpointPiece, [UInt8]?, Digest) throws -> Void
    ) throws {
        let wanted = try pieces.map { piece in
            guard let number = numbers[piece.file] else {
                throw ClusterError.badInput("no host of the job gives \(piece.file)")
            }
            return WeightPiece(file: number, bytes: piece.bytes, held: piece.held)
        }
        let kept = Dictionary(
            zip(wanted, pieces), uniquingKeysWith: { first, _ in first })
        let count = TransferCount(pieces.reduce(0) { $0 + $1.bytes.count }, progress, log)
        try receiver.receive(wanted) { piece, bytes, digest in
            guard let original = kept[piece] else { return }
            try take(original, bytes, digest)
            count.add(piece.bytes.count, isNew: bytes != nil)
        }
        count.finish()
    }
}
