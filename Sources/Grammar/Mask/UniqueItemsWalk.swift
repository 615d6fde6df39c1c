/// Takes tokens out of a mask that would repeat an item of an array whose items must differ, or
/// lead to where nothing but a repetition can follow.
///
/// Only tokens are walked that go along an item seen, or have a comma in such an array. Of tokens
/// with a comma after an item that ends inside of them, those are left out whose item does not end
/// at their first byte: shorter tokens write the same.
///
/// Beyond the limits of a walk, longer tokens are left out, as in `TokenTrie.choices`.
///
/// 1. What this leaves out depends on the text, its limit and the vocabulary alone.
/// 2. If a text can be completed, the first byte of a way to its end is left in.
struct UniqueItemsWalk {
    /// States on the ways along items seen that one search for another item comes by.
    private static let searchLimit = 64
    /// Bytes that all searches of a mask may try.
    private static let tryLimit = 1 << 16
    /// Bytes of the states that all searches of a mask may come by.
    private static let byteLimit = 8 << 20

    /// Where a token leads.
    private struct Spot {
        var node = 0
        var state: GrammarAutomaton.ID
        var place: UniqueItems.Place?
        /// The items seen, by their place in `lists`.
        var list = 0
        /// Whether an item ended inside that is not among those seen.
        var hasOther = false
        var isCut = false
    }

    private let automaton: GrammarAutomaton
    private let trie: TokenTrie
    /// Bytes that may come after the next token.
    private let room: Int
    private var walk: GrammarAutomaton.Walk
    /// The items seen; those with the item so far; none.
    private var lists: [SeenItems]
    private let item: [UInt8]
    private var hasItem = false
    private var tries = 0
    private var mask: [Bool]

    /// Walks the tokens of a mask.
    ///
    /// - Parameter remaining: Tokens that are left, the next one included.
    static func narrow(
        _ mask: inout [Bool], at state: GrammarAutomaton.ID, _ items: UniqueItems?,
        remaining: Int, _ trie: TokenTrie, _ automaton: GrammarAutomaton, spent: inout Int
    ) {
        var walk = UniqueItemsWalk(mask, items, remaining, trie, automaton)
        walk.run(from: Spot(state: state, place: items?.place))
        mask = walk.mask
        spent += walk.walk.spent + walk.tries
    }

    private init(
        _ mask: [Bool], _ items: UniqueItems?, _ remaining: Int, _ trie: TokenTrie,
        _ automaton: GrammarAutomaton
    ) {
        self.automaton = automaton
        self.trie = trie
        self.mask = mask
        room = remaining - 1
        walk = automaton.walk()
        let seen = items?.seen ?? SeenItems()
        lists = [seen, seen, SeenItems()]
        item = items?.item ?? []
    }

    private mutating func run(from start: Spot) {
        // Before the limits of searches: the way to the end that led here (2).
        var kept: [Int32] = []
        if isAmongItems(start), let byte = wayOut(of: start, within: room + 1) {
            for child in trie.children(of: 0) where trie.byte(of: child) == byte {
                kept = trie.tokens(at: child).filter { mask[Int($0)] }
            }
        }
        var open = [start]
        while let spot = open.popLast() {
            for child in trie.children(of: spot.node) where isWorthy(child, of: spot) {
                // Single bytes are always judged: some lead to the end (2).
                if spot.node != 0, walk.isOver {
                    strike(child)
                } else if let next = visit(child, of: spot) {
                    open.append(next)
                }
            }
        }
        for token in kept { mask[Int(token)] = true }
    }

    /// Whether the item so far is the beginning of an item seen, or the next one may be.
    private func isAmongItems(_ spot: Spot) -> Bool {
        guard let place = spot.place else { return false }
        return place.node != SeenItems.nowhere && !lists[spot.list].isEmpty
    }

    private func isWorthy(_ child: Int, of spot: Spot) -> Bool {
        if spot.isCut || isAmongItems(spot) { return true }
        return spot.place == nil ? trie.hasArray(child) : trie.hasComma(child)
    }

    /// Judges the tokens that end at a node, and returns where those below it go on.
    private mutating func visit(_ child: Int, of spot: Spot) -> Spot? {
        let byte = trie.byte(of: child)
        tries += 1
        guard automaton.next(spot.state, byte: byte, &walk) != nil else {
            // The state without its cut ways may go on so.
            if spot.isCut { strike(child) }
            return nil
        }
        guard
            let step = UniqueItems.step(
                spot.state, spot.place, byte, lists[spot.list], in: automaton, &walk)
        else {
            strike(child)
            return nil
        }
        var next = spot
        next.node = child
        next.state = step.state
        next.place = step.place
        next.isCut = spot.isCut || step.isCut
        if step.event.begins {
            next.list = 2
            next.hasOther = false
        } else if step.place != nil, step.event.ends {
            if spot.node == 0 { next.list = listWithItem() } else { next.hasOther = true }
        }
        if step.place != nil, step.event.follows, next.hasOther {
            strike(child)
            return nil
        }
        judge(next)
        return next
    }

    private mutating func judge(_ spot: Spot) {
        let tokens = trie.tokens(at: spot.node)
        guard tokens.contains(where: { mask[Int($0)] }) else { return }
        let isOpen =
            if isAmongItems(spot) {
                tries < Self.tryLimit && walk.bytes < Self.byteLimit
                    && wayOut(of: spot, within: room) != nil
            } else {
                !spot.isCut || Int(automaton.shortest(spot.state)) <= room
            }
        if !isOpen { for token in tokens { mask[Int(token)] = false } }
    }

    /// Leaves out every token through a node.
    private mutating func strike(_ node: Int) {
        var open = [node]
        while let node = open.popLast() {
            for token in trie.tokens(at: node) { mask[Int(token)] = false }
            open += trie.children(of: node)
            tries += 1
        }
    }

    private mutating func listWithItem() -> Int {
        if !hasItem {
            lists[1].insert(item)
            hasItem = true
        }
        return 1
    }

    /// The order in which bytes are tried: what ends an item, then what most items go on with.
    private static let order: [UInt8] = {
        let first = Array("\"]0123456789abcdefghijklmnopqrstuvwxyz".utf8)
        return first + (UInt8.min ... .max).filter { !first.contains($0) }
    }()

    /// The first byte of a way to the end of the text that repeats no item.
    ///
    /// Every way that leaves the items seen has the length that the grammar says: only ways along
    /// them are searched, the shortest first.
    private mutating func wayOut(of spot: Spot, within limit: Int) -> UInt8? {
        var open = [(state: spot.state, place: spot.place, depth: 0, first: UInt8?.none)]
        var index = 0
        while index < open.count {
            let (state, place, depth, first) = open[index]
            index += 1
            for byte in Self.order {
                tries += 1
                guard
                    let step = UniqueItems.step(
                        state, place, byte, lists[spot.list], in: automaton, &walk),
                    depth + 1 + Int(automaton.shortest(step.state)) <= limit
                else { continue }
                var next = spot
                (next.state, next.place) = (step.state, step.place)
                guard isAmongItems(next) else { return first ?? byte }
                // A further item is never needed.
                if step.event.follows || open.count == Self.searchLimit { continue }
                open.append((step.state, step.place, depth + 1, first ?? byte))
            }
        }
        return nil
    }
}
