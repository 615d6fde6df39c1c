import Grammar

extension ServingError {
    /// What a constraint's error means for the request that has the constraint.
    init(_ error: GrammarError) {
        switch error {
        case .invalid(let fact, let parameter):
            self = .invalidRequest(message: fact, parameter: parameter)
        case .forbidden: self = .engine(message: "\(error)")
        }
    }

    /// Does something with a constraint, whose errors become the request's.
    static func constraining<Value>(
        _ body: () throws(GrammarError) -> Value
    ) throws(ServingError) -> Value {
        do throws(GrammarError) { return try body() } catch { throw ServingError(error) }
    }
}
