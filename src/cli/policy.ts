import { Command } from 'commander';
import { policyBuildCommand } from './policy_build.ts';
import { policyBundleCommand } from './policy_bundle.ts';
import { policyCheckCommand } from './policy_check.ts';
import { policyDepsCommand } from './policy_deps.ts';
import { policyEvalCommand, policyExplainCommand } from './policy_eval.ts';
import { policyFmtCommand } from './policy_fmt.ts';
import { policyInspectCommand } from './policy_inspect.ts';
import { policyLintCommand } from './policy_lint.ts';
import { policyMutateCommand } from './policy_mutate.ts';
import { policyNewCommand } from './policy_new.ts';
import { policyTestCommand } from './policy_test.ts';

/** `sallyport policy …`: what authors of policies work with; OPA's own toolchain on board. */
export function policyCommand(): Command {
  return new Command('policy')
    .description('write, check, test and understand policies')
    .addCommand(policyCheckCommand())
    .addCommand(policyFmtCommand())
    .addCommand(policyLintCommand())
    .addCommand(policyTestCommand())
    .addCommand(policyBuildCommand())
    .addCommand(policyBundleCommand())
    .addCommand(policyEvalCommand())
    .addCommand(policyExplainCommand())
    .addCommand(policyMutateCommand())
    .addCommand(policyDepsCommand())
    .addCommand(policyInspectCommand())
    .addCommand(policyNewCommand());
}
