/// The sequences of one scheduler, by request.
///
/// Asking for a sequence that is not there is a bug of the scheduler: it traps with the id.
struct SequenceTable {
    private var sequences: [RequestID: ScheduledSequence] = [:]

    var isEmpty: Bool { sequences.isEmpty }

    /// The sequence of a request, nil for one that has ended or never was.
    func find(_ id: RequestID) -> ScheduledSequence? { sequences[id] }

    func contains(_ id: RequestID) -> Bool { sequences[id] != nil }

    subscript(id: RequestID) -> ScheduledSequence {
        get {
            guard let sequence = sequences[id] else { Self.missing(id) }
            return sequence
        }
        _modify {
            guard let index = sequences.index(forKey: id) else { Self.missing(id) }
            yield &sequences.values[index]
        }
    }

    mutating func insert(_ sequence: ScheduledSequence) {
        precondition(
            sequences[sequence.id] == nil, "request \(sequence.id.rawValue) is already here")
        sequences[sequence.id] = sequence
    }

    mutating func remove(_ id: RequestID) { sequences[id] = nil }

    private static func missing(_ id: RequestID) -> Never {
        preconditionFailure("request \(id.rawValue) has no sequence")
    }
}
