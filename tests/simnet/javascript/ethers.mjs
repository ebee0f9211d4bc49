import assert from "node:assert/strict";
import * as ethers from "ethers";
import { balancesSlot, network, pause, revertingCode, run, tokenAbi, until } from "./checks.mjs";

// ethers keeps results for 250 ms, in which the simnet makes many blocks.
const provider = new ethers.JsonRpcProvider(network.url, undefined, { cacheTimeout: -1, pollingInterval: 20 });
const listener = new ethers.WebSocketProvider(network.websocketUrl);
const wallet = new ethers.Wallet(network.key, provider);
const token = new ethers.Contract(network.token, tokenAbi, wallet);
const friend = ethers.getAddress("0x0505050505050505050505050505050505050505");
const accessList = [{ address: friend, storageKeys: [ethers.ZeroHash] }];

async function mined(sending) {
  const receipt = await (await sending).wait();
  assert.equal(receipt.status, 1);
  return receipt;
}

async function sent(request, type) {
  const before = await provider.getBalance(friend);
  const receipt = await mined(wallet.sendTransaction({ to: friend, value: 7n, ...request }));
  assert.equal(receipt.type, type);
  assert.equal(await provider.getBalance(friend), before + 7n);
  const transaction = await provider.getTransaction(receipt.hash);
  assert.deepEqual(
    [transaction.type, transaction.from, transaction.blockHash],
    [type, wallet.address, receipt.blockHash],
  );
  return receipt;
}

async function fails(promise, code, text = /./) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  });
}

await run({
  "chain id": async () => {
    assert.equal((await provider.getNetwork()).chainId, BigInt(network.chainId));
    assert.equal(await provider.send("net_version", []), String(network.chainId));
    assert.match(await provider.send("web3_clientVersion", []), /^layer2-simnet/);
  },
  block: async () => {
    const latest = await provider.getBlock("latest", true);
    assert.deepEqual((await provider.getBlock(latest.hash, true)).toJSON(), latest.toJSON());
    assert.equal(latest.number, await provider.getBlockNumber());
    assert.equal((await provider.getBlock("earliest")).number, 0);
    assert.ok((await provider.getBlock("finalized")).number <= latest.number);
    assert.equal(await provider.getBlock(99_999), null);
  },
  "balance and nonce": async () => {
    assert.ok((await provider.getBalance(wallet.address)) > ethers.parseEther("9"));
    assert.equal(await provider.getBalance(friend, 0), 0n);
    const nonce = await provider.getTransactionCount(wallet.address);
    assert.equal(await provider.getTransactionCount(wallet.address, "pending"), nonce);
  },
  "code and storage": async () => {
    assert.ok((await provider.getCode(network.token)).length > 100);
    assert.equal(await provider.getCode(friend), "0x");
    assert.equal((await provider.getStorage(network.token, 1)).length, 66);
  },
  fees: async () => {
    const { gasPrice, maxFeePerGas, maxPriorityFeePerGas } = await provider.getFeeData();
    assert.ok(gasPrice > 0n && maxFeePerGas > maxPriorityFeePerGas && maxPriorityFeePerGas > 0n);
    assert.equal((await provider.send("eth_feeHistory", ["0x1", "latest", [50]])).baseFeePerGas.length, 2);
  },
  "estimate with an access list": async () => {
    const request = { from: wallet.address, to: friend, value: 1n };
    assert.equal(await provider.estimateGas(request), 21_000n);
    const estimate = await provider.estimateGas({ ...request, accessList });
    assert.ok(estimate >= 25_300n && estimate < 25_700n, `${estimate}`);
  },
  "legacy transaction": async () => {
    const receipt = await sent({ type: 0 }, 0);
    assert.equal(receipt.gasUsed, 21_000n);
  },
  "EIP-2930 transaction": async () => {
    const receipt = await sent({ type: 1, accessList }, 1);
    assert.equal(receipt.gasUsed, 25_300n);
  },
  "EIP-1559 transaction": async () => {
    const receipt = await sent({}, 2);
    assert.ok(receipt.gasPrice > (await receipt.getBlock()).baseFeePerGas);
  },
  "EIP-7702 transaction": async () => {
    const delegating = new ethers.Wallet(ethers.id("ethers delegates"), provider);
    const authorization = await delegating.authorize({ address: network.token });
    const request = { type: 4, to: delegating.address, data: "0x313ce567", authorizationList: [authorization] };
    const receipt = await mined(wallet.sendTransaction(request));
    assert.equal(receipt.type, 4);
    assert.equal(await provider.getCode(delegating.address), ethers.concat(["0xef0100", network.token]));
    assert.equal(await token.attach(delegating.address).decimals(), 8n);
    const [entry] = (await provider.getTransaction(receipt.hash)).authorizationList;
    assert.equal(entry.address, network.token);
  },
  "several transactions at once": async () => {
    const nonce = await wallet.getNonce();
    const sending = [2, 1, 0].map((index) => wallet.sendTransaction({ to: friend, value: 1n, nonce: nonce + index }));
    await Promise.all(sending.map(mined));
  },
  "deployed contract": async () => {
    const contract = await new ethers.ContractFactory(tokenAbi, network.tokenCode, wallet).deploy();
    await contract.waitForDeployment();
    assert.equal(await contract.decimals(), 8n);
  },
  "token read and written": async () => {
    const before = await token.balanceOf(friend);
    assert.equal(await token.transfer.staticCall(friend, 5n), true);
    const receipt = await mined(token.transfer(friend, 5n));
    const event = token.interface.parseLog(receipt.logs[0]);
    assert.deepEqual([...event.args], [wallet.address, friend, 5n]);
    assert.equal(await token.balanceOf(friend), before + 5n);
    assert.equal(await token.balanceOf(friend, { blockTag: receipt.blockNumber - 1 }), before);
  },
  logs: async () => {
    const receipt = await mined(token.mint(friend, 11n));
    const logs = await token.queryFilter(token.filters.Transfer(null, friend), 0);
    assert.deepEqual([logs.at(-1).transactionHash, logs.at(-1).args.amount], [receipt.hash, 11n]);
    const [byHash] = await provider.getLogs({ address: network.token, blockHash: receipt.blockHash });
    assert.deepEqual(byHash.toJSON(), logs.at(-1).toJSON());
    assert.deepEqual(await token.queryFilter(token.filters.Transfer(null, network.token), 0), []);
  },
  filters: async () => {
    const [blocks, pending, events] = await Promise.all([
      provider.send("eth_newBlockFilter", []),
      provider.send("eth_newPendingTransactionFilter", []),
      provider.send("eth_newFilter", [
        { address: network.token, topics: [null, null, ethers.zeroPadValue(friend, 32)] },
      ]),
    ]);
    const receipt = await mined(token.mint(friend, 12n));
    const changes = (id) => provider.send("eth_getFilterChanges", [id]);
    assert.ok((await changes(blocks)).includes(receipt.blockHash));
    assert.deepEqual(await changes(pending), [receipt.hash]);
    assert.deepEqual(
      (await changes(events)).map((log) => log.transactionHash),
      [receipt.hash],
    );
    assert.deepEqual(await changes(events), []);
    assert.equal(await provider.send("eth_uninstallFilter", [events]), true);
  },
  subscriptions: async () => {
    const heads = new Set();
    const events = new Map();
    await listener.on("block", (number) => heads.add(number));
    await token
      .connect(listener)
      .on(token.filters.Transfer(null, friend), (event) => events.set(event.log.transactionHash, event));
    await until(
      () => heads.size > 0 && events.size > 0,
      () => mined(token.mint(friend, 1n)),
    );
    const { blockNumber, hash } = await mined(token.mint(friend, 13n));
    await until(() => heads.has(blockNumber) && events.has(hash), pause);
    const event = events.get(hash);
    assert.deepEqual([event.args.amount, event.log.blockNumber, event.log.removed], [13n, blockNumber, false]);
    await listener.removeAllListeners();
    assert.equal(await listener.getBlockNumber(), await provider.getBlockNumber());
  },
  proof: async () => {
    await mined(token.mint(friend, 14n));
    const coder = ethers.AbiCoder.defaultAbiCoder();
    const slot = ethers.keccak256(coder.encode(["uint256", "address"], [balancesSlot, friend]));
    const block = await provider.getBlock("latest");
    const proof = await provider.send("eth_getProof", [network.token, [slot], ethers.toQuantity(block.number)]);
    assert.equal(ethers.keccak256(proof.accountProof[0]), block.stateRoot);
    const [entry] = proof.storageProof;
    assert.equal(ethers.keccak256(entry.proof[0]), proof.storageHash);
    assert.equal(BigInt(entry.value), await token.balanceOf(friend));
    assert.equal(ethers.keccak256(await provider.getCode(network.token)), proof.codeHash);
  },
  "revert reason": async () => {
    await fails(provider.call({ data: revertingCode }), "CALL_EXCEPTION", /execution reverted: "no"/);
    await fails(wallet.estimateGas({ data: revertingCode }), "CALL_EXCEPTION", /execution reverted: "no"/);
    await fails(token.transfer.staticCall(friend, 2n ** 255n), "CALL_EXCEPTION", /execution reverted/);
  },
  "state override": async () => {
    const overrides = { [friend]: { balance: ethers.toQuantity(10n ** 20n), code: "0x475f5260205ff3" } };
    assert.equal(BigInt(await provider.send("eth_call", [{ to: friend }, "latest", overrides])), 10n ** 20n);
  },
  "simulated calls": async () => {
    const calls = [
      await token.mint.populateTransaction(wallet.address, 3n),
      await token.balanceOf.populateTransaction(wallet.address),
    ];
    const messages = calls.map(({ to, data }) => ({ from: wallet.address, to, data }));
    const [block] = await provider.send("eth_simulateV1", [{ blockStateCalls: [{ calls: messages }] }, "latest"]);
    assert.deepEqual(
      block.calls.map((call) => call.status),
      ["0x1", "0x1"],
    );
    assert.equal(BigInt(block.calls[1].returnData), (await token.balanceOf(wallet.address)) + 3n);
  },
  "errors of sending": async () => {
    const plain = { to: friend, value: 1n, gasLimit: 21_000n };
    await fails(wallet.sendTransaction({ ...plain, nonce: 0 }), "NONCE_EXPIRED");
    await fails(wallet.sendTransaction({ ...plain, value: 10n ** 30n }), "INSUFFICIENT_FUNDS");
    await fails(wallet.sendTransaction({ ...plain, gasLimit: 20_000n }), "UNKNOWN_ERROR", /intrinsic gas too low/);
    await fails(provider.send("eth_nothing", []), "UNSUPPORTED_OPERATION");
  },
});
