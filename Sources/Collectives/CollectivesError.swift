public import Topology

/// What a caller, or another rank, got wrong about an exchange between ranks.
///
/// What the transport finds (a lost rank, a deadline) stays a `TransportError`.
public enum CollectivesError: Error, Hashable, Sendable {
    /// A token names an expert that the model does not have.
    case expertOutOfRange(Int, token: Int, expertCount: Int)
    /// A token names one expert twice.
    case repeatedExpert(ExpertID, token: Int)
    /// A gate weight is NaN or infinite.
    case weightNotFinite(token: Int, choice: Int)
    /// More tokens than the windows were made for.
    case tooManyTokens(Int, maximum: Int)
    /// A tensor or a list has another shape than the call needs.
    case shape(String, found: [Int], expected: [Int])
    /// Tokens are stored in a codec from which they do not become what travels.
    case codec(String, travels: String)
    /// A value of a configuration lies outside its limits.
    case limit(String, value: Int, range: ClosedRange<Int>, origin: String)
    /// Another rank came with another configuration.
    case disagreement(Rank, subject: String, theirs: String, ours: String)
    /// Another rank wrote something into our window that no rank of this version writes.
    case malformed(Rank, String)
    /// Both buffers hold exchanges that have not ended.
    case tooManyInFlight(limit: Int)
    /// A map or a layout is of an epoch before that of the group.
    case staleEpoch(UInt64, current: UInt64)
    /// Two maps of one epoch differ.
    case changedMap(epoch: UInt64)
    /// A rank lives in a map after it was lost.
    case rankReturned(Rank)
}

extension CollectivesError: CustomStringConvertible {
    /// The fact, the value, the limit, and where the limit came from.
    public var description: String {
        switch self {
        case .expertOutOfRange(let expert, let token, let count):
            "expert \(expert) of token \(token) is out of range: the model has \(count) routed "
                + "experts (n_routed_experts)"
        case .repeatedExpert(let expert, let token):
            "token \(token) names \(expert) twice: the choices of a token are distinct"
        case .weightNotFinite(let token, let choice):
            "the gate weight of token \(token), choice \(choice), is not finite"
        case .tooManyTokens(let count, let maximum):
            "\(count) tokens are too many: the windows hold \(maximum) (maximumTokensPerRank)"
        case .shape(let subject, let found, let expected):
            "\(subject) has shape \(found), expected \(expected)"
        case .codec(let codec, let travels):
            "tokens that rest as \(codec) do not travel as \(travels) (dispatchCodec): f32, bf16 "
                + "and \(travels) do"
        case .limit(let subject, let value, let range, let origin):
            "\(subject) \(value) is out of range: the limits are \(range.lowerBound) and "
                + "\(range.upperBound) (\(origin))"
        case .disagreement(let rank, let subject, let theirs, let ours):
            "\(rank) has \(subject) \(theirs), this rank has \(ours)"
        case .malformed(let rank, let fact): "malformed bytes from \(rank): \(fact)"
        case .tooManyInFlight(let limit):
            "\(limit) exchanges are in flight already: the windows have \(limit) buffers"
        case .staleEpoch(let epoch, let current):
            "the expert map is of epoch \(epoch), and the group is in epoch \(current)"
        case .changedMap(let epoch):
            "two expert maps of epoch \(epoch) differ: a map that changed belongs to the next epoch"
        case .rankReturned(let rank):
            "\(rank) lives in the expert map, and was lost in an epoch before"
        }
    }
}
