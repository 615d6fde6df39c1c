/// What was made of the constraints that were asked for last.
struct RecentConstraints<Value> {
    /// Constraints that are kept: agents with tools of their own take turns.
    static var countLimit: Int { 32 }

    /// Bytes of the texts of those that are kept, because a grammar grows with its text. The latest
    /// is kept whatever it has.
    static var textLimit: Int { 2 * CompilationBudget.textLimit }

    /// Latest last.
    private var entries: [(constraint: OutputConstraint, value: Value)] = []

    /// What was made of a constraint, which is the latest from now on.
    mutating func value(of constraint: OutputConstraint) -> Value? {
        guard let place = entries.firstIndex(where: { $0.constraint == constraint }) else {
            return nil
        }
        entries.append(entries.remove(at: place))
        return entries[entries.count - 1].value
    }

    /// Keeps what was made of a constraint, and drops what was not asked for longest.
    mutating func keep(_ value: Value, of constraint: OutputConstraint) {
        entries.removeAll { $0.constraint == constraint }
        entries.append((constraint, value))
        var bytes = entries.reduce(0) { $0 + $1.constraint.textBytes }
        while entries.count > 1, entries.count > Self.countLimit || bytes > Self.textLimit {
            bytes -= entries.removeFirst().constraint.textBytes
        }
    }
}
