import Grammar
import Language

/// The calls that a model may make by itself in a chat.
///
/// What begins as a call ends as one: the form's own words, the name of a tool, and arguments that
/// keep to its schema. Only a limit of tokens or a stop string cuts it.
struct FreeCalls: Sendable {
    let form: CallConstraint
    let tools: [Tool]
    /// Nil sets no limit.
    let limit: Int?

    /// Where the calls begin; nil where nothing of the form is a token of its own.
    ///
    /// - Parameter begun: The prompt's last tokens, where the trigger stands before them.
    func trigger(
        _ marks: ThoughtCount.Marks, isInside: Bool, begun: [Int]?
    ) -> ConstraintTrigger? {
        form.trigger.map {
            ConstraintTrigger(
                token: $0, after: form.form.beforeTrigger, thoughtBegin: marks.begin,
                thoughtEnd: marks.end, lines: marks.lines, isInside: isInside,
                begun: begun)
        }
    }

    /// What follows the trigger, for these declarations of the tools.
    func rest(_ tools: [Tool]) -> OutputConstraint { form.rest(of: tools, atMost: limit) }

    /// What follows the trigger.
    ///
    /// - Parameters:
    ///   - bytes: What its texts may take.
    ///   - make: Calls `rest` where it may take long.
    func constraint(
        within bytes: Int, _ grammars: CompiledGrammars,
        _ make: ([Tool]) async throws -> OutputConstraint
    ) async throws -> OutputConstraint {
        let declared = tools.reduce(0) { $0 + ($1.parameters?.utf8.count ?? 0) }
        let isSmall = declared <= min(bytes, OutputConstraint.textLimit)
        if isSmall {
            let all = try await make(tools)
            if all.textBytes <= bytes, await grammars.accepts(all, isFollowed: true) { return all }
        }
        // A schema that cannot be a grammar is kept to where the request says so, with an error;
        // else the arguments of its tool are any object.
        var loose = tools
        for index in tools.indices where tools[index].isStrict != true {
            if isSmall {
                let arguments = tools[index].arguments
                let isAccepted = await grammars.accepts(arguments, isFollowed: false)
                loose[index].isLoose = !isAccepted
            } else {
                loose[index].isLoose = true
            }
        }
        let some = try await make(loose)
        if some.textBytes <= bytes, await grammars.accepts(some, isFollowed: true) { return some }
        for index in tools.indices where tools[index].isStrict != true {
            loose[index].isLoose = true
        }
        return try await make(loose)
    }
}
