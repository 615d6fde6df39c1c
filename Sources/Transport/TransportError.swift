public import Topology

/// Everything that can go wrong while bytes move.
public enum TransportError: Error, Hashable, Sendable {
    /// A library or the kernel refused a call; `status` is its own wording.
    case call(String, status: String)
    /// A rank is gone: its process ended, its link is cut, or it no longer answers.
    case rankLost(Rank, phase: String, cause: String)
    /// A wait ended without its event. The rank is the one that was waited for, if it was one.
    case deadline(Rank?, phase: String, limit: Duration)
    /// Two ranks came with different ideas of what they do together.
    case disagreement(Rank, subject: String, theirs: String, ours: String)
    /// A value lies outside its limit.
    case limit(String, value: Int, limit: Int, origin: String)
    /// Bytes arrived that no rank of this version sends.
    case malformed(from: String, String)
    /// The token, or the version, of who wants to join is not ours.
    case refused(String)
    /// The chosen transport or device does not exist here.
    case unavailable(String)
    /// The fabric was closed by its owner.
    case closed
}

extension TransportError: CustomStringConvertible {
    /// The fact, the value, the limit, and where the limit came from.
    public var description: String {
        switch self {
        case .call(let call, let status): "\(call) failed: \(status)"
        case .rankLost(let rank, let phase, let cause): "\(rank) left during \(phase): \(cause)"
        case .deadline(let rank?, let phase, let limit):
            "\(rank) sent nothing during \(phase) within \(limit) (deadline)"
        case .deadline(nil, let phase, let limit): "\(phase) did not end within \(limit) (deadline)"
        case .disagreement(let rank, let subject, let theirs, let ours):
            "\(rank) has \(subject) \(theirs), this rank has \(ours)"
        case .limit(let subject, let value, let limit, let origin):
            "\(subject) \(value) is out of range: the limit is \(limit) (\(origin))"
        case .malformed(let source, let fact): "malformed bytes from \(source): \(fact)"
        case .refused(let fact): "join refused: \(fact)"
        case .unavailable(let fact): fact
        case .closed: "the fabric is closed"
        }
    }

    /// The same error with what may be done about it.
    func advising(_ remedy: String) -> TransportError {
        switch self {
        case .call(let call, let status): .call(call, status: "\(status) (\(remedy))")
        case .rankLost(let rank, let phase, let cause):
            .rankLost(rank, phase: phase, cause: "\(cause) (\(remedy))")
        case .deadline(let rank, let phase, let limit):
            .deadline(rank, phase: "\(phase) (\(remedy))", limit: limit)
        case .unavailable(let fact): .unavailable("\(fact) (\(remedy))")
        default: self
        }
    }

    /// The same error with another name for its rank.
    func naming(_ name: (Rank) -> Rank) -> TransportError {
        switch self {
        case .rankLost(let rank, let phase, let cause):
            .rankLost(name(rank), phase: phase, cause: cause)
        case .deadline(let rank?, let phase, let limit):
            .deadline(name(rank), phase: phase, limit: limit)
        case .disagreement(let rank, let subject, let theirs, let ours):
            .disagreement(name(rank), subject: subject, theirs: theirs, ours: ours)
        default: self
        }
    }

    /// The same error with the place in the caller's work: a dispatch becomes that of a step.
    public func during(_ place: String) -> TransportError {
        switch self {
        case .rankLost(let rank, let phase, let cause):
            .rankLost(rank, phase: "\(phase) of \(place)", cause: cause)
        case .deadline(let rank, let phase, let limit):
            .deadline(rank, phase: "\(phase) of \(place)", limit: limit)
        default: self
        }
    }

    /// The rank that an error names, so that a program can say who failed.
    public var rank: Rank? {
        switch self {
        case .rankLost(let rank, _, _), .disagreement(let rank, _, _, _): rank
        case .deadline(let rank, _, _): rank
        default: nil
        }
    }
}
