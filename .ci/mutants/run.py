#!/usr/bin/env python3
"""Which mutants the tests notice; called by .ci/mutants.sh.

run.py TREE BUILD SCHEMATA LIST.json LIST.txt EXPLAINED OUT

TREE is a copy of the crate that this may change, BUILD its target folder, LIST what `cargo mutants --list` prints. First all
mutants are written into the source at once, each behind a number (`SCHEMATA`); what does not compile is left out. Then every
test runs once by itself, to see which mutants it reaches, and after that each mutant meets the tests that reach it,
quickest first. What cannot be chosen at run time, mutants of constants, is built and tested one by one.
"""
import collections, glob, json, os, re, resource, shutil, signal, subprocess, sys, tempfile, threading, time

tree, build, schemata, listing, names, explained, out = sys.argv[1:]
# What has nothing to do with the list, or drives threads for long, is left out.
SKIPPED = re.compile(r'^(loom|manager|monitor|planted_faults|linearizability|lsm_store)')
JOBS = os.cpu_count() or 1
env = dict(
    os.environ, CARGO_TARGET_DIR=build, CARGO_INCREMENTAL='1', CARGO_PROFILE_DEV_DEBUG='0', CARGO_PROFILE_DEV_OPT_LEVEL='1',
    RUSTFLAGS='--cap-lints allow -C debug-assertions=on -C overflow-checks=on', MEMSKIP_LIGHT='1', RUST_BACKTRACE='0',
    PROPTEST_FAILURE_PERSISTENCE='off',
)
mutants = json.load(open(listing))
names = [re.sub(r'^([^:]+):\d+:\d+:', r'\1:', line) for line in open(names).read().splitlines()]
assert len(names) == len(mutants)
source = os.path.join(tree, 'src')


def prune():
    """Takes out of the copy what these tests do not need, above all dependencies that take long to build."""
    for folder in ('benches', 'examples'):
        shutil.rmtree(f'{tree}/{folder}', ignore_errors=True)
    for name in filter(SKIPPED.match, os.listdir(f'{tree}/tests')):
        path = f'{tree}/tests/{name}'
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    said = ''.join(open(path).read() for folder in ('src', 'tests') for path in glob.glob(f'{tree}/{folder}/**/*.rs', recursive=True))
    kept, section, keeps = [], '', True
    for line in open(f'{tree}/Cargo.toml'):
        if line.startswith('['):
            section, keeps = line.strip(), not line.startswith(('[[bench]]', '[[example]]'))
        elif section.endswith('dev-dependencies]') and (name := re.match(r'([\w-]+)\s*=', line)):
            keeps = re.search(rf'\b{name[1].replace("-", "_")}(::|!)', said) is not None
        if keeps:
            kept.append(line)
    open(f'{tree}/Cargo.toml', 'w').writelines(kept)


prune()
shutil.rmtree(source + '.clean', ignore_errors=True)
shutil.copytree(source, source + '.clean')


def clean():
    """The source as it was, with times that make cargo look."""
    shutil.rmtree(source)
    shutil.copytree(source + '.clean', source, copy_function=shutil.copy)


def errors(lines):
    """File and line of each error, the last of its places first."""
    for line in lines:
        said = json.loads(line)
        if said.get('reason') == 'compiler-message' and said['message']['level'] == 'error':
            yield from ((span['file_name'], span['line_start']) for span in said['message']['spans'] if span['is_primary'])


def instrument():
    """Writes all mutants that compile into the source; gives them by number, and those of constants."""
    here = os.path.dirname(os.path.abspath(__file__))
    left_out = set()
    while True:
        clean()
        shutil.copy(f'{here}/chosen.rs', f'{source}/chosen_mutant.rs')
        with open(f'{source}/lib.rs', 'a') as lib:
            lib.write('\n#[allow(unsafe_code)]\nmod chosen_mutant;\n')
        plan = subprocess.run([schemata, tree, listing, ','.join(map(str, left_out))], check=True, text=True, stdout=subprocess.PIPE)
        rows = [line.split() for line in plan.stdout.splitlines()]
        number = {int(n): int(i) for n, i in rows if n != '-'}
        check = subprocess.run(['cargo', 'check', '--lib', '--quiet', '--message-format=json'], cwd=tree, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if check.returncode == 0:
            return number, [int(i) for n, i in rows if n == '-'], left_out
        inside, above = set(), set()
        for file, at in errors(check.stdout.splitlines()):
            lines = open(os.path.join(tree, file)).read().split('\n')[:at][::-1]
            begins = next((i for i, line in enumerate(lines) if line.startswith('/*M')), None)
            ends = next((i for i, line in enumerate(lines) if line.startswith('/*E*/')), len(lines))
            if begins is not None:
                # Behind an alternative a type that is inferred does not fit (`impl Trait`).
                (inside if begins < ends else above).add(number[int(re.match(r'/\*M(\d+)', lines[begins])[1])])
        new = inside or above
        if not new:
            sys.exit(f'the mutated source does not compile:\n{check.stdout}')
        left_out |= new


def run(command, seconds, wall, extra=()):
    """Runs a test binary or cargo: `passed`, `caught` or `timeout`, the time it took, and what it printed."""
    def limits():
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if not command[0].endswith('cargo'):
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    begun = time.time()
    process = subprocess.Popen(command, cwd=tree, env={**env, **dict(extra)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=limits)
    try:
        said, _ = process.communicate(timeout=wall)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return 'timeout', time.time() - begun, said
    code = process.returncode
    outcome = 'passed' if code == 0 else 'timeout' if code in (-signal.SIGXCPU, -signal.SIGKILL) else 'caught'
    return outcome, time.time() - begun, said


def tests():
    """The test binaries by name."""
    built = subprocess.run(['cargo', 'test', '--lib', '--tests', '--no-run', '--quiet', '--message-format=json'], cwd=tree, env=env, text=True, stdout=subprocess.PIPE)
    if built.returncode:
        sys.exit('the tests do not build')
    said = [json.loads(line) for line in built.stdout.splitlines()]
    found = {one['target']['name']: one['executable'] for one in said if one.get('executable') and one['profile']['test']}
    return {name: path for name, path in found.items() if not SKIPPED.match(name)}


def each(items, work):
    """Some at a time."""
    items, lock = collections.deque(items), threading.Lock()
    def loop():
        while True:
            with lock:
                if not items:
                    return
                item = items.popleft()
            work(item)
    threads = [threading.Thread(target=loop) for _ in range(JOBS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


begun = time.time()
number, constants, unviable = instrument()
print(f'{len(mutants)} mutants: {len(number)} chosen at run time, {len(constants)} of constants, {len(unviable)} do not compile', flush=True)
binaries = tests()
cases = []
for name, path in binaries.items():
    listed = subprocess.run([path, '--list', '--format', 'terse'], text=True, stdout=subprocess.PIPE, cwd=tree).stdout
    cases += [(name, line[:-6]) for line in listed.splitlines() if line.endswith(': test')]
reaching, cost = collections.defaultdict(list), {}


def cover(case):
    name, test = case
    with tempfile.NamedTemporaryFile() as file:
        outcome, seconds, _ = run([binaries[name], '--exact', test, '--test-threads', '1'], 300, 900, [('MUTANT_COVER', file.name)])
        passed = open(file.name, 'rb').read()
    if outcome != 'passed':
        print(f'left out, since it fails by itself: {name} {test}', flush=True)
        return
    cost[case] = seconds
    for place, seen in enumerate(passed):
        if seen:
            reaching[place].append(case)


each(cases, cover)
print(f'{len(cost)} tests take {sum(cost.values()):.0f} s; {time.time() - begun:.0f} s so far', flush=True)
first, last = {}, None
for one in sorted(number):
    mutant = mutants[number[one]]
    place = (mutant['file'], json.dumps(mutant['span']), mutant['genre'])
    first[one] = first[one - 1] if place == last else one
    last = place
results, kills = {}, collections.Counter()


def attempt(one):
    queue = sorted(reaching[first[one]], key=lambda case: cost[case] / (1 + kills[case]))
    outcome, budget = 'missed', 0.05
    while queue and outcome == 'missed':
        group, total = collections.defaultdict(list), 0
        while queue and (not total or total + cost[queue[0]] <= budget):
            case = queue.pop(0)
            group[case[0]].append(case[1])
            total += cost[case]
        budget *= 3
        for name, some in group.items():
            expected = sum(cost[name, test] for test in some)
            now, _, said = run([binaries[name], '--exact', *some, '--test-threads', '1', '-q'], int(8 * expected) + 4, 30 * expected + 30, [('MUTANT', str(one))])
            if now != 'passed':
                outcome = now
                failed = {line.strip() for line in said.decode(errors='replace').splitlines() if line.startswith('    ')}
                kills.update((name, test) for test in some if test in failed)
                break
    results[number[one]] = outcome
    if outcome == 'missed':
        print(f'missed: {names[number[one]]}', flush=True)
    if len(results) % 100 == 0:
        print(f'{len(results)} of {len(number)}, {time.time() - begun:.0f} s', flush=True)


each(sorted(number), attempt)
quick = ['--lib', *(word for name in binaries if re.match('mutants_|contract|versions', name) for word in ('--test', name))]
for index in constants:
    clean()
    mutant, path = mutants[index], os.path.join(tree, mutants[index]['file'])
    text = open(path).read()
    lines = text.split('\n')
    at = lambda place: sum(len(line) + 1 for line in lines[:place['line'] - 1]) + place['column'] - 1
    start, end = at(mutant['span']['start']), at(mutant['span']['end'])
    open(path, 'w').write(text[:start] + mutant['replacement'] + text[end:])
    if subprocess.run(['cargo', 'check', '--lib', '--quiet'], cwd=tree, env=env, stderr=subprocess.DEVNULL).returncode:
        unviable.add(index)
        continue
    outcome = 'passed'
    for some in (quick, ['--lib', '--tests']):
        if outcome == 'passed':
            outcome = run(['cargo', 'test', '--quiet', *some], 900, 900)[0]
    results[index] = 'missed' if outcome == 'passed' else outcome
    if outcome == 'passed':
        print(f'missed: {names[index]}', flush=True)
clean()

os.makedirs(out, exist_ok=True)
by_outcome = {what: sorted(names[i] for i, got in results.items() if got == what) for what in ('caught', 'timeout', 'missed')}
by_outcome['unviable'] = sorted(names[i] for i in unviable)
for what, some in by_outcome.items():
    open(f'{out}/{what}.txt', 'w').writelines(f'{name}\n' for name in some)
by_file = collections.defaultdict(collections.Counter)
for what, some in by_outcome.items():
    for name in some:
        by_file[name.split(':')[0]][what] += 1
print(f'{"file":<28}{"caught":>9}{"timeout":>9}{"missed":>9}{"unviable":>9}')
for file in [*sorted(by_file), 'together']:
    row = by_file[file] if file in by_file else sum(by_file.values(), collections.Counter())
    print(f'{file:<28}' + ''.join(f'{row[what]:>9}' for what in ('caught', 'timeout', 'missed', 'unviable')))
known = {line.strip() for line in open(explained) if line.strip() and not line.startswith('#')}
new = [name for name in by_outcome['missed'] if name not in known]
for name in new:
    print(f'not explained: {name}')
sys.exit(1 if new else 0)
