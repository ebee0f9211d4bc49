import assert from "node:assert/strict";
import * as viem from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { balancesSlot, network, pause, revertingCode, run, tokenAbi, until } from "./checks.mjs";

const account = privateKeyToAccount(network.key);
const chain = viem.defineChain({
  id: network.chainId,
  name: "BOB",
  nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
  rpcUrls: { default: { http: [network.url] } },
});
const transport = viem.http(network.url, { batch: true });
const client = viem.createPublicClient({ chain, transport, pollingInterval: 20, cacheTime: 0 });
const wallet = viem.createWalletClient({ account, chain, transport });
const listener = viem.createPublicClient({ chain, transport: viem.webSocket(network.websocketUrl) });
const abi = viem.parseAbi(tokenAbi);
const token = { address: network.token, abi };
const friend = "0x0505050505050505050505050505050505050505";
const accessList = [{ address: friend, storageKeys: [viem.zeroHash] }];

async function mined(hash) {
  const receipt = await client.waitForTransactionReceipt({ hash });
  assert.equal(receipt.status, "success");
  return receipt;
}

async function sent(request, type) {
  const before = await client.getBalance({ address: friend });
  const receipt = await mined(await wallet.sendTransaction({ to: friend, value: 7n, ...request }));
  assert.equal(receipt.type, type);
  assert.equal(await client.getBalance({ address: friend }), before + 7n);
  const transaction = await client.getTransaction({ hash: receipt.transactionHash });
  assert.equal(transaction.type, type);
  assert.equal(viem.isAddressEqual(transaction.from, account.address), true);
  assert.equal(transaction.blockHash, receipt.blockHash);
  return receipt;
}

async function mint(amount) {
  return mined(await wallet.writeContract({ ...token, functionName: "mint", args: [friend, amount] }));
}

async function fails(promise, kind, text) {
  await assert.rejects(promise, (error) => {
    const cause = error.walk((each) => each instanceof kind);
    assert.ok(cause, `${error.name} is not caused by ${kind.name}: ${error.message}`);
    assert.match(cause.message, text);
    return true;
  });
}

await run({
  "chain id": async () => {
    assert.equal(await client.getChainId(), network.chainId);
    assert.equal(await client.request({ method: "net_version" }), String(network.chainId));
    assert.match(await client.request({ method: "web3_clientVersion" }), /^layer2-simnet/);
  },
  block: async () => {
    const latest = await client.getBlock({ includeTransactions: true });
    assert.deepEqual(await client.getBlock({ blockHash: latest.hash, includeTransactions: true }), latest);
    assert.equal(latest.number, await client.getBlockNumber());
    assert.equal(await client.getBlockTransactionCount({ blockHash: latest.hash }), latest.transactions.length);
    assert.equal((await client.getBlock({ blockTag: "earliest" })).number, 0n);
    assert.ok((await client.getBlock({ blockTag: "finalized" })).number <= latest.number);
    await fails(client.getBlock({ blockNumber: 99_999n }), viem.BlockNotFoundError, /could not be found/);
  },
  "balance and nonce": async () => {
    assert.ok((await client.getBalance({ address: account.address })) > 9n * 10n ** 18n);
    assert.equal(await client.getBalance({ address: friend, blockNumber: 0n }), 0n);
    const { address } = account;
    const nonce = await client.getTransactionCount({ address });
    assert.equal(await client.getTransactionCount({ address, blockTag: "pending" }), nonce);
  },
  "code and storage": async () => {
    assert.ok((await client.getCode({ address: network.token })).length > 100);
    assert.equal(await client.getCode({ address: friend }), undefined);
    assert.equal((await client.getStorageAt({ address: network.token, slot: "0x1" })).length, 66);
  },
  fees: async () => {
    const { maxFeePerGas, maxPriorityFeePerGas } = await client.estimateFeesPerGas();
    assert.ok(maxFeePerGas > maxPriorityFeePerGas && maxPriorityFeePerGas > 0n);
    assert.ok((await client.getGasPrice()) > 0n);
    const history = await client.getFeeHistory({ blockCount: 1, rewardPercentiles: [50] });
    assert.equal(history.baseFeePerGas.length, 2);
  },
  "estimate with an access list": async () => {
    const request = { account, to: friend, value: 1n };
    assert.equal(await client.estimateGas(request), 21_000n);
    const estimate = await client.estimateGas({ ...request, accessList });
    assert.ok(estimate >= 25_300n && estimate < 25_700n, `${estimate}`);
  },
  "legacy transaction": async () => {
    const receipt = await sent({ type: "legacy" }, "legacy");
    assert.equal(receipt.gasUsed, 21_000n);
  },
  "EIP-2930 transaction": async () => {
    const receipt = await sent({ type: "eip2930", accessList }, "eip2930");
    assert.equal(receipt.gasUsed, 25_300n);
  },
  "EIP-1559 transaction": async () => {
    const receipt = await sent({}, "eip1559");
    const block = await client.getBlock({ blockHash: receipt.blockHash });
    assert.equal(receipt.effectiveGasPrice > block.baseFeePerGas, true);
  },
  "EIP-7702 transaction": async () => {
    const delegating = privateKeyToAccount(viem.keccak256(viem.toHex("viem delegates")));
    const authorization = await wallet.signAuthorization({ account: delegating, contractAddress: network.token });
    const hash = await wallet.sendTransaction({
      to: delegating.address,
      data: "0x313ce567",
      authorizationList: [authorization],
    });
    assert.equal((await mined(hash)).type, "eip7702");
    const code = viem.concat(["0xef0100", network.token]).toLowerCase();
    assert.equal(await client.getCode({ address: delegating.address }), code);
    assert.equal(await client.readContract({ address: delegating.address, abi, functionName: "decimals" }), 8);
    const [entry] = (await client.getTransaction({ hash })).authorizationList;
    assert.equal(viem.isAddressEqual(entry.address, network.token), true);
  },
  "several transactions at once": async () => {
    const nonce = await client.getTransactionCount({ address: account.address });
    const hashes = await Promise.all(
      [2, 1, 0].map((index) => wallet.sendTransaction({ to: friend, value: 1n, nonce: nonce + index })),
    );
    await Promise.all(hashes.map(mined));
  },
  "deployed contract": async () => {
    const { contractAddress } = await mined(await wallet.deployContract({ abi, bytecode: network.tokenCode }));
    assert.equal(await client.readContract({ address: contractAddress, abi, functionName: "decimals" }), 8);
  },
  "token read and written": async () => {
    const before = await client.readContract({ ...token, functionName: "balanceOf", args: [friend] });
    const { request, result } = await client.simulateContract({
      ...token,
      account,
      functionName: "transfer",
      args: [friend, 5n],
    });
    assert.equal(result, true);
    const receipt = await mined(await wallet.writeContract(request));
    const [event] = viem.parseEventLogs({ abi, logs: receipt.logs });
    assert.deepEqual(event.args, { sender: account.address, receiver: viem.getAddress(friend), amount: 5n });
    const balance = (block) => client.readContract({ ...token, functionName: "balanceOf", args: [friend], ...block });
    assert.equal(await balance({}), before + 5n);
    assert.equal(await balance({ blockNumber: receipt.blockNumber - 1n }), before);
  },
  logs: async () => {
    const { blockHash, blockNumber, transactionHash } = await mint(11n);
    const logs = await client.getContractEvents({
      ...token,
      eventName: "Transfer",
      args: { receiver: friend },
      fromBlock: 0n,
    });
    assert.equal(logs.at(-1).transactionHash, transactionHash);
    assert.equal(logs.at(-1).args.amount, 11n);
    assert.deepEqual(
      await client.getLogs({ ...token, events: abi.filter((item) => item.type === "event"), blockHash }),
      logs.slice(-1),
    );
    const others = { ...token, eventName: "Transfer", args: { receiver: network.token }, fromBlock: 0n };
    assert.deepEqual(await client.getContractEvents({ ...others, toBlock: blockNumber }), []);
  },
  filters: async () => {
    const blocks = await client.createBlockFilter();
    const pending = await client.createPendingTransactionFilter();
    const events = await client.createContractEventFilter({
      ...token,
      eventName: "Transfer",
      args: { receiver: friend },
    });
    const receipt = await mint(12n);
    assert.ok((await client.getFilterChanges({ filter: blocks })).includes(receipt.blockHash));
    assert.deepEqual(await client.getFilterChanges({ filter: pending }), [receipt.transactionHash]);
    const changes = await client.getFilterChanges({ filter: events });
    assert.deepEqual(
      changes.map((log) => [log.args.amount, log.transactionHash]),
      [[12n, receipt.transactionHash]],
    );
    assert.deepEqual(await client.getFilterChanges({ filter: events }), []);
    assert.equal(await client.uninstallFilter({ filter: events }), true);
  },
  subscriptions: async () => {
    const heads = new Set();
    const events = new Map();
    const errors = [];
    const stopHeads = listener.watchBlocks({
      onBlock: (block) => heads.add(block.hash),
      onError: (error) => errors.push(error),
    });
    const stopLogs = listener.watchContractEvent({
      ...token,
      eventName: "Transfer",
      args: { receiver: friend },
      onLogs: (logs) => logs.forEach((event) => events.set(event.transactionHash, event)),
      onError: (error) => errors.push(error),
    });
    await until(
      () => heads.size > 0 && events.size > 0,
      () => mint(1n),
    );
    const { blockHash, transactionHash } = await mint(13n);
    await until(() => heads.has(blockHash) && events.has(transactionHash), pause);
    const event = events.get(transactionHash);
    assert.deepEqual([event.args.amount, event.blockHash, event.removed], [13n, blockHash, false]);
    assert.deepEqual(errors, []);
    stopHeads();
    stopLogs();
    assert.equal(await listener.getBlockNumber(), await client.getBlockNumber());
  },
  proof: async () => {
    await mint(14n);
    const slot = viem.keccak256(
      viem.encodeAbiParameters([{ type: "uint256" }, { type: "address" }], [balancesSlot, friend]),
    );
    const block = await client.getBlock();
    const proof = await client.getProof({ address: network.token, storageKeys: [slot], blockNumber: block.number });
    assert.equal(viem.keccak256(proof.accountProof[0]), block.stateRoot);
    const [entry] = proof.storageProof;
    assert.equal(viem.keccak256(entry.proof[0]), proof.storageHash);
    assert.equal(entry.value, await client.readContract({ ...token, functionName: "balanceOf", args: [friend] }));
    assert.equal(viem.keccak256(await client.getCode({ address: network.token })), proof.codeHash);
  },
  "revert reason": async () => {
    await fails(client.call({ data: revertingCode }), viem.ExecutionRevertedError, /reverted with reason: no\b/);
    await fails(
      client.estimateGas({ account, data: revertingCode }),
      viem.ExecutionRevertedError,
      /reverted with reason: no\b/,
    );
    const tooMuch = { ...token, account, functionName: "transfer", args: [friend, 2n ** 255n] };
    await fails(client.simulateContract(tooMuch), viem.ContractFunctionRevertedError, /reverted/);
  },
  "state override": async () => {
    const stateOverride = [{ address: friend, balance: 10n ** 20n, code: "0x475f5260205ff3" }];
    const { data } = await client.call({ to: friend, stateOverride });
    assert.equal(viem.hexToBigInt(data), 10n ** 20n);
  },
  "simulated calls": async () => {
    const calls = [
      { to: network.token, abi, functionName: "mint", args: [account.address, 3n] },
      { to: network.token, abi, functionName: "balanceOf", args: [account.address] },
    ];
    const { assetChanges, results } = await client.simulateCalls({ account, calls, traceAssetChanges: true });
    const balance = await client.readContract({ ...token, functionName: "balanceOf", args: [account.address] });
    assert.deepEqual(
      results.map((each) => each.status),
      ["success", "success"],
    );
    assert.equal(results[1].result, balance + 3n);
    // Of ether and of the token.
    assert.deepEqual(
      assetChanges.map((change) => change.value.diff),
      [0n, 3n],
    );
  },
  "errors of sending": async () => {
    const plain = { to: friend, value: 1n, gas: 21_000n };
    await fails(wallet.sendTransaction({ ...plain, nonce: 0 }), viem.NonceTooLowError, /lower than the current nonce/);
    await fails(
      wallet.sendTransaction({ ...plain, value: 10n ** 30n }),
      viem.InsufficientFundsError,
      /exceeds the balance/,
    );
    await fails(wallet.sendTransaction({ ...plain, gas: 20_000n }), viem.IntrinsicGasTooLowError, /too low/);
    await fails(client.request({ method: "eth_nothing" }), viem.MethodNotFoundRpcError, /does not exist/);
  },
});
