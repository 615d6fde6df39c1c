/// What compiling one constraint may take.
///
/// 1. Every loop whose length a constraint decides counts here before it goes on, so compilation
///    ends in a number of steps and bytes that the length of the constraint's text bounds.
/// 2. What is counted depends on the constraint alone: all ranks take it, or none.
final class CompilationBudget {
    /// Bytes of all schemas, patterns and texts of a constraint: twice what 5,000 properties with
    /// names of 24 characters take.
    static let textLimit = 1 << 19

    /// Steps, of some 20 ns each, that any constraint may take, and those per byte of its text.
    static let baseSteps = 1 << 21
    static let stepsPerByte = 64

    /// Bytes that the compiled grammar and what leads to it may take, and those per byte of text.
    static let baseBytes = 8 << 20
    static let bytesPerByte = 128

    /// Thrown by `attempt` to itself.
    private struct ShareIsSpent: Error {}

    let stepLimit: Int
    let byteLimit: Int
    private(set) var steps = 0
    private(set) var bytes = 0
    private var share: Int?

    init(textBytes: Int) {
        stepLimit = Self.baseSteps + Self.stepsPerByte * textBytes
        byteLimit = Self.baseBytes + Self.bytesPerByte * textBytes
    }

    /// Counts what comes next.
    ///
    /// - Throws: `Grammar.Fault.tooExpensive` when that is more than is left.
    func spend(_ count: Int, bytes added: Int = 0) throws {
        (steps, bytes) = (steps + count, bytes + added)
        guard steps <= stepLimit else { throw Grammar.Fault.tooExpensive(stepLimit, unit: "steps") }
        guard bytes <= byteLimit else { throw Grammar.Fault.tooExpensive(byteLimit, unit: "bytes") }
        if let share, steps > share { throw ShareIsSpent() }
    }

    /// Tries what may turn out too expensive, with a share of what is left.
    ///
    /// - Returns: Nil if the share was not enough.
    func attempt<Value>(steps most: Int, _ body: () throws -> Value) throws -> Value? {
        let (outer, held) = (share, bytes)
        share = min(outer ?? .max, steps + min(most, (stepLimit - steps) / 2))
        defer { share = outer }
        do { return try body() } catch is ShareIsSpent {
            // What was made so far is not kept.
            bytes = held
            if let outer, steps > outer { throw ShareIsSpent() }
            return nil
        }
    }
}
