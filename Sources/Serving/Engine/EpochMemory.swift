import Foundation
import Synchronization
import Transport

/// What the ranks of an epoch say of memory for weights, in the order of their places in it.
///
/// 1. Each rank says what it needs itself, from what it holds: no rank computes the need of
///    another, because a rank that comes back does not know what the others hold.
/// 2. No rank reads before all have said what is free, so none counts twice what another one takes.
/// 3. All ranks see the same claims and decide by the same rules, so that all wait, or none does.
/// 4. A rank says what is free after it let go of what it prepared before, and memory that somebody
///    is about to give back is waited for.
struct EpochMemory: Sendable {
    /// What one rank says.
    struct Claim: Codable, Hashable, Sendable {
        /// Bytes that it will take; 0 where it reads nothing.
        var needed: Int
        /// Bytes that are free where it is; nil where nobody knows.
        var free: Int?
        /// Whether it would wait for memory that is missing.
        var isPatient: Bool
    }

    /// For rows that are read, and what steps allocate meanwhile, on each rank.
    static let readingBytes = 64 << 20

    init(claims: [Claim], machines: [Int]) { (self.claims, self.machines) = (claims, machines) }

    /// One of each rank.
    private(set) var claims: [Claim]
    /// The machine of each rank: ranks with one number take of the same memory.
    let machines: [Int]

    /// The ranks that take memory of a rank's machine, itself included if it does.
    func readers(with place: Int) -> [Int] {
        claims.indices.filter { machines[$0] == machines[place] && claims[$0].needed > 0 }
    }

    /// Bytes that all ranks of a machine take.
    func needed(with place: Int) -> Int {
        readers(with: place).reduce(0) { $0 + claims[$1].needed }
    }

    /// Whether a rank reads on a machine that has too little for all that read there.
    func isShort(_ place: Int) -> Bool {
        guard claims[place].needed > 0, let free = claims[place].free else { return false }
        return needed(with: place) > free
    }

    /// Whether the ranks say all of it once more: some machine has too little, and nobody is out of
    /// patience.
    var isWaiting: Bool {
        claims.indices.contains(where: isShort) && claims.allSatisfy(\.isPatient)
    }

    /// The ranks of a machine that read where it has too little for all: the first ones, each if
    /// there is enough for it beside those before it that read. The others take nothing.
    ///
    /// - Parameter place: One of the machine's ranks.
    func firstReaders(with place: Int) -> [Int] {
        var (reading, taken) = ([Int](), 0)
        for reader in readers(with: place) {
            let claim = claims[reader]
            guard taken + claim.needed <= claim.free ?? .max else { continue }
            reading.append(reader)
            taken += claim.needed
        }
        return reading
    }
}

extension EpochMemory {
    /// Pauses in seconds from one time that the ranks speak to the next, then the last again: the
    /// first are short, because a process that ends gives its memory back in a moment.
    private static let pauses = [0.1, 0.2, 0.5]

    /// Lets the ranks of a fabric say what they need and what is free, again while memory is
    /// missing and all are patient. Collective.
    ///
    /// - Parameters:
    ///   - needed: Bytes that this rank will take.
    ///   - free: Bytes that are free here; asked each time.
    ///   - limit: How long this rank waits for memory that is missing.
    ///   - meeting: How long the others may take to come.
    /// - Throws: `TransportError` where the ranks do not meet.
    init(
        _ needed: Int, free: () -> Int?, limit: Duration, on fabric: any Fabric, meeting: Duration
    ) throws {
        let begin = ContinuousClock.now
        (claims, machines) = ([], fabric.ranks.map { fabric.node(of: $0) })
        var round = 0
        repeat {
            if round > 0 { Thread.sleep(forTimeInterval: Self.pauses[min(round, 3) - 1]) }
            round += 1
            let claim = Claim(
                needed: needed, free: free(), isPatient: begin.duration(to: .now) < limit)
            claims = try fabric.allGather(
                Array(JSONEncoder().encode(claim)), label: "memory",
                deadline: fabric.deadline(meeting, "memory")
            ).map { try JSONDecoder().decode(Claim.self, from: Data($0)) }
        } while isWaiting
    }
}

/// For how many ranks of its node a rank's head is cut; any thread may ask.
final class HeldPlaces: Sendable {
    private let stored = Mutex(1)

    var count: Int {
        get { stored.withLock { $0 } }
        set { stored.withLock { $0 = newValue } }
    }
}
