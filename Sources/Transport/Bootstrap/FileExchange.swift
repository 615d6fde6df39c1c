import Glibc
import Synchronization
import Topology

/// Meets ranks through files in a directory that all of them see.
///
/// The directory must be the run's own: each rank leaves a mark, and one that finds its mark there
/// ends with an error. A rank removes its blob of a round once all have read it; those of the last
/// round stay.
final class FileExchange: AddressExchange {
    /// This rank.
    let rank: Rank
    /// How many ranks meet.
    let rankCount: Int
    private let directory: String
    private let token: String
    private let round = Mutex(0)

    /// - Parameters:
    ///   - directory: Used by no other run; made where it does not exist, in one that does.
    ///   - token: Stands in every file; one with another token is refused.
    /// - Throws: `call` where the directory cannot be made; `refused` where this rank was here.
    init(
        directory: String, rank: Rank, rankCount: Int, token: String
    ) throws(TransportError) {
        self.directory = directory
        self.rank = rank
        self.rankCount = rankCount
        self.token = token
        guard unsafe mkdir(directory, 0o700) == 0 || errno == EEXIST else {
            throw .system("mkdir \(directory)")
        }
        let mark = "\(directory)/begun.\(rank.rawValue)"
        let file = unsafe open(mark, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            guard errno == EEXIST else { throw .system("open \(mark)") }
            throw .refused("\(mark) is there already: give every run its own directory")
        }
        Glibc.close(file)
    }

    /// Gives every rank the blobs of all, in rank order.
    func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]] {
        let number = round.withLock { round in
            defer { round += 1 }
            return round
        }
        let mine = FileBlob(token: token, label: label, blob: blob)
        try write(mine.encoded(), to: path(number, rank))
        var blobs: [[UInt8]] = []
        for index in 0 ..< rankCount {
            blobs.append(
                try read(number, Rank(rawValue: index), label: label, deadline: deadline))
        }
        // A rank that wrote this round has read the round before.
        if number > 0 { _ = unsafe unlink(path(number - 1, rank)) }
        return blobs
    }

    private func path(_ round: Int, _ rank: Rank) -> String {
        "\(directory)/round-\(round).\(rank.rawValue)"
    }

    private func write(_ bytes: [UInt8], to path: String) throws(TransportError) {
        let temporary = path + ".new"
        let file = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .system("open \(temporary)") }
        let written = unsafe bytes.withUnsafeBytes {
            unsafe Glibc.write(file, $0.baseAddress, $0.count)
        }
        Glibc.close(file)
        guard written == bytes.count else { throw .system("write \(temporary)") }
        guard unsafe rename(temporary, path) == 0 else { throw .system("rename to \(path)") }
    }

    private func read(
        _ round: Int, _ rank: Rank, label: String, deadline: Deadline
    ) throws(TransportError) -> [UInt8] {
        let path = path(round, rank)
        while true {
            let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
            if file >= 0 {
                defer { Glibc.close(file) }
                return try FileBlob(decoding: try contents(file, path), from: rank)
                    .checked(token: token, label: label, from: rank)
            }
            guard errno == ENOENT else { throw .system("open \(path)") }
            if deadline.hasPassed { throw deadline.missed(by: rank) }
            deadline.clock.pause(2_000_000)
        }
    }

    private func contents(_ file: Int32, _ path: String) throws(TransportError) -> [UInt8] {
        let limit = ExchangeLimit.blobBytes + ExchangeLimit.labelBytes + 1024
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe Glibc.read(file, $0.baseAddress, $0.count)
            }
            guard count >= 0 else { throw .system("read \(path)") }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= limit else {
                throw .malformed(from: path, "more than \(limit) bytes")
            }
        }
    }

    /// Nothing to close: files are all there is.
    func close() {}
}
