import Foundation
public import NIOCore
import Topology

/// Why bytes are no frame. The connection that sent them is closed.
public struct FrameError: Error, Equatable, CustomStringConvertible {
    /// The fact, the value and the limit.
    public let description: String

    init(_ description: String) { self.description = description }
}

/// The body of a frame (its length is framed outside): a kind byte, then
/// - kind 0: JSON of one message,
/// - kind 1: an application payload as it is,
/// - kind 2: a label (2-byte length) and a blob,
/// - kind 3: a label, a count (4 bytes), and that many blobs (4-byte lengths).
extension ControlFrame {
    private enum Kind: UInt8 {
        case message = 0
        case payload = 1
        case contribution = 2
        case gathered = 3
    }

    /// Reads the body of a frame from bytes that anybody may have sent.
    ///
    /// No claim in the bytes makes it allocate more than they hold.
    public init(decoding buffer: ByteBuffer) throws {
        var buffer = buffer
        guard let number = buffer.readInteger(as: UInt8.self) else {
            throw FrameError("a frame is empty")
        }
        switch Kind(rawValue: number) {
        case .message:
            let bytes = Data(buffer.readableBytesView)
            self = try JSONDecoder().decode(Message.self, from: bytes).frame
        case .payload:
            self = .payload(Array(buffer.readableBytesView))
        case .contribution:
            self = .contribution(
                label: try Self.readLabel(&buffer), blob: Array(buffer.readableBytesView))
        case .gathered:
            self = .gathered(
                label: try Self.readLabel(&buffer), blobs: try Self.readBlobs(&buffer))
        case nil:
            throw FrameError("frame kind \(number) is unknown: the highest is 3")
        }
    }

    /// Writes the body of a frame.
    public func encode(into buffer: inout ByteBuffer) throws {
        switch self {
        case .payload(let bytes):
            buffer.writeInteger(Kind.payload.rawValue)
            buffer.writeBytes(bytes)
        case .contribution(let label, let blob):
            buffer.writeInteger(Kind.contribution.rawValue)
            Self.write(label, into: &buffer)
            buffer.writeBytes(blob)
        case .gathered(let label, let blobs):
            buffer.writeInteger(Kind.gathered.rawValue)
            Self.write(label, into: &buffer)
            buffer.writeInteger(UInt32(blobs.count))
            for blob in blobs {
                buffer.writeInteger(UInt32(blob.count))
                buffer.writeBytes(blob)
            }
        default:
            guard let message = Message(self) else { throw FrameError("a frame has no form") }
            buffer.writeInteger(Kind.message.rawValue)
            buffer.writeBytes(try JSONEncoder().encode(message))
        }
    }

    private static func write(_ label: String, into buffer: inout ByteBuffer) {
        precondition(
            label.utf8.count <= ControlProtocol.longestLabelBytes,
            "label of \(label.utf8.count) bytes")
        buffer.writeInteger(UInt16(label.utf8.count))
        buffer.writeString(label)
    }

    private static func readLabel(_ buffer: inout ByteBuffer) throws -> String {
        guard let count = buffer.readInteger(as: UInt16.self) else {
            throw FrameError("a frame ends inside the length of its label")
        }
        guard Int(count) <= ControlProtocol.longestLabelBytes else {
            throw FrameError(
                "a label of \(count) bytes: the limit is \(ControlProtocol.longestLabelBytes)")
        }
        guard let label = buffer.readString(length: Int(count)) else {
            throw FrameError("a label of \(count) bytes in a frame of \(buffer.readableBytes) more")
        }
        return label
    }

    private static func readBlobs(_ buffer: inout ByteBuffer) throws -> [[UInt8]] {
        guard let count = buffer.readInteger(as: UInt32.self) else {
            throw FrameError("a frame ends inside its count of blobs")
        }
        // Every blob costs the sender at least its length field, so the count is bounded by bytes.
        guard Int(count) * 4 <= buffer.readableBytes else {
            throw FrameError("\(count) blobs in a frame of \(buffer.readableBytes) more bytes")
        }
        return try (0 ..< count).map { _ in
            guard let length = buffer.readInteger(as: UInt32.self),
                let blob = buffer.readBytes(length: Int(length))
            else { throw FrameError("a blob is longer than its frame") }
            return blob
        }
    }
}

/// The frames that travel as JSON.
private enum Message: Codable {
    case hello(Hello)
    case welcome(Welcome)
    case refusal(reason: String)
    case entered(Phase)
    case progress(PhaseProgress)
    case heartbeat(RankStatistics?)
    case failed(reason: String, lost: Rank?)
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
        case .failed(let reason, let lost): self = .failed(reason: reason, lost: lost)
        case .snapshot(let snapshot): self = .snapshot(snapshot)
        case .stop: self = .stop
        case .end(let end): self = .end(end)
        case .payload, .contribution, .gathered: return nil
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
        case .failed(let reason, let lost): .failed(reason: reason, lost: lost)
        case .snapshot(let snapshot): .snapshot(snapshot)
        case .stop: .stop
        case .end(let end): .end(end)
        }
    }
}
