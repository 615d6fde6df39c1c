import Foundation
import Topology

/// Why bytes are no frame.
///
/// The connection that sent them is closed.
public struct FrameError: Error, Equatable, CustomStringConvertible {
    /// The fact, the value and the limit.
    public let description: String

    init(_ description: String) { self.description = description }
}

/// The body of a frame (its length is framed outside): a kind byte, then
/// - kind 0: JSON of one message,
/// - kind 1: an application payload as it is,
/// - kind 2: an all-gather and a blob,
/// - kind 3: an all-gather, a count (4 bytes), and that many blobs (4-byte lengths),
/// - kind 4: layers (2 bytes), experts (2 bytes), tokens of each expert of each layer (4 bytes).
///
/// An all-gather is a label (2-byte length), an epoch (2 bytes), a count (2 bytes), and that many
/// ranks (2 bytes each).
extension ControlFrame {
    private enum Kind: UInt8 {
        case message = 0
        case payload = 1
        case contribution = 2
        case gathered = 3
        case counts = 4
    }

    /// Reads the body of a frame from bytes that anybody may have sent.
    ///
    /// No claim in the bytes makes it allocate more than they hold.
    public init(decoding bytes: [UInt8]) throws {
        var reader = FrameReader(bytes)
        guard let number = reader.integer(bytes: 1) else {
            throw FrameError("a frame is empty")
        }
        switch Kind(rawValue: UInt8(number)) {
        case .message:
            self = try JSONDecoder().decode(Message.self, from: Data(reader.rest())).frame
        case .payload:
            self = .payload(reader.rest())
        case .contribution:
            self = .contribution(try Self.readGather(&reader), blob: reader.rest())
        case .gathered:
            self = .gathered(
                try Self.readGather(&reader), blobs: try Self.readBlobs(&reader))
        case .counts:
            self = .counts(try Self.readCounts(&reader))
        case nil:
            throw FrameError("frame kind \(number) is unknown: the highest is 4")
        }
    }

    /// The body of a frame.
    public func encoded() throws -> [UInt8] {
        switch self {
        case .payload(let bytes): return [Kind.payload.rawValue] + bytes
        case .contribution(let gather, let blob):
            return [Kind.contribution.rawValue] + Self.words(gather) + blob
        case .gathered(let gather, let blobs):
            var bytes = [Kind.gathered.rawValue] + Self.words(gather)
            bytes += Self.words(UInt32(blobs.count))
            for blob in blobs { bytes += Self.words(UInt32(blob.count)) + blob }
            return bytes
        case .counts(let counts):
            return [Kind.counts.rawValue] + Self.words(UInt16(clamping: counts.layerCount))
                + Self.words(UInt16(clamping: counts.expertCount))
                + counts.values.flatMap { Self.words($0) }
        default:
            guard let message = Message(self) else { throw FrameError("a frame has no form") }
            return [Kind.message.rawValue] + (try JSONEncoder().encode(message))
        }
    }

    private static func words(_ gather: Gather) -> [UInt8] {
        precondition(
            gather.members.count <= Rank.maximumCount, "\(gather.members.count) members")
        return words(gather.label) + words(UInt16(gather.epoch))
            + words(UInt16(gather.members.count))
            + gather.members.flatMap { words(UInt16($0.rawValue)) }
    }

    private static func words(_ label: String) -> [UInt8] {
        precondition(
            label.utf8.count <= ControlProtocol.longestLabelBytes,
            "label of \(label.utf8.count) bytes")
        return words(UInt16(label.utf8.count)) + Array(label.utf8)
    }

    private static func words(_ value: some FixedWidthInteger) -> [UInt8] {
        (0 ..< value.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    private static func readGather(_ reader: inout FrameReader) throws -> Gather {
        let label = try readLabel(&reader)
        guard let epoch = reader.integer(bytes: 2), let count = reader.integer(bytes: 2) else {
            throw FrameError("a frame ends inside its count of members")
        }
        guard count <= Rank.maximumCount, count * 2 <= reader.left else {
            throw FrameError(
                "\(count) members in a frame of \(reader.left) more bytes: the limit is"
                    + " \(Rank.maximumCount)")
        }
        let members = (0 ..< count).compactMap { _ in
            reader.integer(bytes: 2).map { Rank(rawValue: $0) }
        }
        return Gather(label: label, members: members, epoch: UInt64(epoch))
    }

    private static func readLabel(_ reader: inout FrameReader) throws -> String {
        guard let count = reader.integer(bytes: 2) else {
            throw FrameError("a frame ends inside the length of its label")
        }
        guard count <= ControlProtocol.longestLabelBytes else {
            throw FrameError(
                "a label of \(count) bytes: the limit is \(ControlProtocol.longestLabelBytes)")
        }
        guard let label = reader.bytes(count) else {
            throw FrameError("a label of \(count) bytes in a frame of \(reader.left) more")
        }
        // Repairing it instead could make it longer than the limit.
        guard let text = String(validating: label, as: UTF8.self) else {
            throw FrameError("a label of \(count) bytes is not UTF-8")
        }
        return text
    }

    private static func readBlobs(_ reader: inout FrameReader) throws -> [[UInt8]] {
        guard let count = reader.integer(bytes: 4) else {
            throw FrameError("a frame ends inside its count of blobs")
        }
        // Every blob costs the sender at least its length field, so the count is bounded by bytes.
        guard count * 4 <= reader.left else {
            throw FrameError("\(count) blobs in a frame of \(reader.left) more bytes")
        }
        return try (0 ..< count).map { _ in
            guard let length = reader.integer(bytes: 4), let blob = reader.bytes(length) else {
                throw FrameError("a blob is longer than its frame")
            }
            return blob
        }
    }
}

extension ControlFrame {
    private static func readCounts(_ reader: inout FrameReader) throws -> ExpertCounts {
        guard let layers = reader.integer(bytes: 2), let experts = reader.integer(bytes: 2) else {
            throw FrameError("a frame ends inside its count of experts")
        }
        guard layers * experts * 4 == reader.left else {
            throw FrameError(
                "\(layers) layers of \(experts) experts in a frame of \(reader.left) more bytes")
        }
        let values = (0 ..< layers * experts).compactMap { _ in
            reader.integer(bytes: 4).map { UInt32($0) }
        }
        let counts = ExpertCounts(layerCount: layers, expertCount: experts, values: values)
        guard let counts else {
            throw FrameError(
                "counts of \(layers) layers of \(experts) experts: the limits are 1 to"
                    + " \(ExpertCounts.mostLayers) and 65535")
        }
        return counts
    }
}

/// Takes big-endian integers and runs of bytes from the front of a frame.
private struct FrameReader {
    private let all: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { all = bytes }

    var left: Int { all.count - position }

    /// An integer of at most 4 bytes, nil if the frame ends before.
    mutating func integer(bytes count: Int) -> Int? {
        bytes(count)?.reduce(0) { $0 << 8 | Int($1) }
    }

    mutating func bytes(_ count: Int) -> [UInt8]? {
        guard count <= left else { return nil }
        defer { position += count }
        return Array(all[position ..< position + count])
    }

    mutating func rest() -> [UInt8] { bytes(left) ?? [] }
}

/// The frames that travel as JSON.
private enum Message: Codable {
    case hello(Hello)
    case welcome(Welcome)
    case refusal(reason: String)
    case entered(Phase)
    case progress(PhaseProgress)
    case heartbeat(RankStatistics?)
    case finished
    case failed(reason: String, lost: Rank?)
    case suspected(Rank, epoch: UInt64, reason: String)
    case epoch(JobEpoch)
    case recovered(epoch: UInt64)
    case prepare(JobEpoch)
    case prepared(epoch: UInt64)
    case notPrepared(epoch: UInt64, reason: String, lacksMemory: Bool)
    case abandon(epoch: UInt64)
    case askPlacement
    case placement(PlacementReport)
    case place(PlacementRequest)
    case notPlaced(reason: String)
    case askTrace(seconds: Int)
    case traced(file: String)
    case notTraced(reason: String)
    case askDrain(Rank)
    case drained(Rank)
    case notDrained(reason: String)
    case askReturn(Rank)
    case returned(Rank)
    case notReturned(reason: String)
    case askWeights
    case weights([[Endpoint]])
    case drainedRanks(DrainedRanks)
    case snapshot(JobSnapshot)
    case stop
    case end(JobEnd)

    init?(_ frame: ControlFrame) {
        switch frame {
        case .hello(let hello): self = .hello(hello)
        case .welcome(let welcome): self = .welcome(welcome)
        case .refusal(let reason): self = .refusal(reason: reason)
        case .entered(let phase): self = .entered(phase)
        case .progress(let progress): self = .progress(progress)
        case .heartbeat(let statistics): self = .heartbeat(statistics)
        case .finished: self = .finished
        case .failed(let reason, let lost): self = .failed(reason: reason, lost: lost)
        case .suspected(let rank, let epoch, let reason):
            self = .suspected(rank, epoch: epoch, reason: reason)
        case .epoch(let epoch): self = .epoch(epoch)
        case .recovered(let epoch): self = .recovered(epoch: epoch)
        case .prepare(let epoch): self = .prepare(epoch)
        case .prepared(let epoch): self = .prepared(epoch: epoch)
        case .notPrepared(let epoch, let reason, let lacksMemory):
            self = .notPrepared(epoch: epoch, reason: reason, lacksMemory: lacksMemory)
        case .abandon(let epoch): self = .abandon(epoch: epoch)
        case .askPlacement: self = .askPlacement
        case .placement(let report): self = .placement(report)
        case .place(let request): self = .place(request)
        case .notPlaced(let reason): self = .notPlaced(reason: reason)
        case .askTrace(let seconds): self = .askTrace(seconds: seconds)
        case .traced(let file): self = .traced(file: file)
        case .notTraced(let reason): self = .notTraced(reason: reason)
        case .askDrain(let rank): self = .askDrain(rank)
        case .drained(let rank): self = .drained(rank)
        case .notDrained(let reason): self = .notDrained(reason: reason)
        case .askReturn(let rank): self = .askReturn(rank)
        case .returned(let rank): self = .returned(rank)
        case .notReturned(let reason): self = .notReturned(reason: reason)
        case .askWeights: self = .askWeights
        case .weights(let sources): self = .weights(sources)
        case .drainedRanks(let away): self = .drainedRanks(away)
        case .snapshot(let snapshot): self = .snapshot(snapshot)
        case .stop: self = .stop
        case .end(let end): self = .end(end)
        case .payload, .contribution, .gathered, .counts: return nil
        }
    }

    var frame: ControlFrame {
        switch self {
        case .hello(let hello): .hello(hello)
        case .welcome(let welcome): .welcome(welcome)
        case .refusal(let reason): .refusal(reason: reason)
        case .entered(let phase): .entered(phase)
        case .progress(let progress): .progress(progress)
        case .heartbeat(let statistics): .heartbeat(statistics)
        case .finished: .finished
        case .failed(let reason, let lost): .failed(reason: reason, lost: lost)
        case .suspected(let rank, let epoch, let reason):
            .suspected(rank, epoch: epoch, reason: reason)
        case .epoch(let epoch): .epoch(epoch)
        case .recovered(let epoch): .recovered(epoch: epoch)
        case .prepare(let epoch): .prepare(epoch)
        case .prepared(let epoch): .prepared(epoch: epoch)
        case .notPrepared(let epoch, let reason, let lacksMemory):
            .notPrepared(epoch: epoch, reason: reason, lacksMemory: lacksMemory)
        case .abandon(let epoch): .abandon(epoch: epoch)
        case .askPlacement: .askPlacement
        case .placement(let report): .placement(report)
        case .place(let request): .place(request)
        case .notPlaced(let reason): .notPlaced(reason: reason)
        case .askTrace(let seconds): .askTrace(seconds: seconds)
        case .traced(let file): .traced(file: file)
        case .notTraced(let reason): .notTraced(reason: reason)
        case .askDrain(let rank): .askDrain(rank)
        case .drained(let rank): .drained(rank)
        case .notDrained(let reason): .notDrained(reason: reason)
        case .askReturn(let rank): .askReturn(rank)
        case .returned(let rank): .returned(rank)
        case .notReturned(let reason): .notReturned(reason: reason)
        case .askWeights: .askWeights
        case .weights(let sources): .weights(sources)
        case .drainedRanks(let away): .drainedRanks(away)
        case .snapshot(let snapshot): .snapshot(snapshot)
        case .stop: .stop
        case .end(let end): .end(end)
        }
    }
}
