/// Decides when the signals of one sender's puts may be seen.
///
/// Puts arrive by several ways (eager, rendezvous, two rails) and complete in any order; a signal
/// must not be seen before every earlier put has landed.
struct PutOrder {
    /// A signal to set.
    struct Publication: Equatable {
        var window: UInt32
        var signal: UInt32
        var value: UInt64
    }

    private enum Progress {
        case receiving
        case landed(Publication?)
    }

    /// Every put up to this one has landed and been published.
    private(set) var publishedThrough: UInt64 = 0
    private var later: [UInt64: Progress] = [:]

    /// How far a sender may run ahead; its own slots are fewer.
    static let reach: UInt64 = 1 << 20

    /// Takes note of a put that begins to arrive; false if that cannot be: it came before, or is
    /// beyond reach.
    mutating func begin(_ sequence: UInt64) -> Bool {
        guard sequence > publishedThrough, sequence - publishedThrough <= Self.reach else {
            return false
        }
        return later.updateValue(.receiving, forKey: sequence) == nil
    }

    /// Takes note that a put has landed, and calls `publish` for all that may now be seen.
    mutating func land(
        _ sequence: UInt64, _ publication: Publication?, publish: (Publication) -> Void
    ) {
        later[sequence] = .landed(publication)
        while case .landed(let next)? = later[publishedThrough + 1] {
            publishedThrough += 1
            later[publishedThrough] = nil
            if let next { publish(next) }
        }
    }

    /// Both at once, for bytes that came with their header; false as `begin`.
    mutating func arrive(
        _ sequence: UInt64, _ publication: Publication?, publish: (Publication) -> Void
    ) -> Bool {
        if sequence == publishedThrough + 1, later.isEmpty {
            publishedThrough = sequence
            if let publication { publish(publication) }
            return true
        }
        guard begin(sequence) else { return false }
        land(sequence, publication, publish: publish)
        return true
    }
}
