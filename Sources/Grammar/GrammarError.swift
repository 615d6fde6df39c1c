/// Why a text cannot follow its constraint, in one line.
public enum GrammarError: Error, Equatable, CustomStringConvertible {
    /// The constraint cannot be used, or not within the limits: the fact, and the parameter of a
    /// request that asks for it.
    case invalid(String, parameter: String)
    /// A token was chosen that the constraint forbids at this place.
    case forbidden(token: Int)

    /// The one line that an answer carries.
    public var description: String {
        switch self {
        case .invalid(let fact, _): fact
        case .forbidden(let token):
            "token \(token) was chosen, which the constraint forbids here"
        }
    }
}
